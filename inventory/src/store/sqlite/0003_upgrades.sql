-- What the node says of the version that is wished; null when none is.
ALTER TABLE live ADD COLUMN upgrade_json TEXT;
