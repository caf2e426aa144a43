-- {name: name@digest} of the images that the run's container steps run in, since it was made.
ALTER TABLE run ADD COLUMN images TEXT NOT NULL DEFAULT '{}';
