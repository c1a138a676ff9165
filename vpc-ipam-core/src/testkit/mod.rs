//! Stateful fakes, the EC2 state model, the simulation and checkers.
pub mod check;
pub mod ec2;
