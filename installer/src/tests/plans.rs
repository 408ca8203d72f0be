//! Plans are functions of what is known.
