-- Where the rack is that a join token is for: names of racks come again in other halls. Null: anywhere.
ALTER TABLE join_tokens ADD COLUMN region TEXT;
ALTER TABLE join_tokens ADD COLUMN site TEXT;
ALTER TABLE join_tokens ADD COLUMN row TEXT;
