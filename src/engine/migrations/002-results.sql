-- What lies under a key never changes: the same work done anew may leave something else, which then
-- gets a key of its own. So a recipe is looked up apart from where its results lie.
ALTER TABLE result ADD COLUMN recipe_key BLOB; -- digest of the recipe; NULL: nobody can ask for it
ALTER TABLE result ADD COLUMN attempt INTEGER; -- of the task in `run` that made it
UPDATE result SET recipe_key = key;
CREATE INDEX result_of_recipe ON result(recipe_key, created);
