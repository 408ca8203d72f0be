//! Puts Cupel on a server.
