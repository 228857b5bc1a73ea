//! Empty: a Cargo manifest needs a target, and this one only names dependencies.
