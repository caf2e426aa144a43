"""A partition for each timepoint of each subject."""
import os


def list_subjects(state):
    assert state.running_subject is None
    root = state.host_input_data_path
    return ['%s/%s' % (subject, timepoint)
            for subject in sorted(os.listdir(root))
            for timepoint in sorted(os.listdir(os.path.join(root, subject)))]
