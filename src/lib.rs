#![doc = include_str!("../README.md")]

pub mod auth;
pub mod catalog;
pub mod cli;
pub mod convert;
pub mod domain;
pub mod ingest;
pub mod pb;
pub mod registry;
pub mod server;
pub mod service;
pub mod store;
pub mod telemetry;
