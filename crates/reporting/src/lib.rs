//! What a node remembers over restarts, and what it has yet to tell the inventory.
