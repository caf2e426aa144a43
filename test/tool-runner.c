/* `glovebox tool …` without the rest of the program, for tests of the tools alone. */
#include "tools/tools.h"

int main(int argc, char **argv) {
    return tool_main(argc - 1, argv + 1);
}
