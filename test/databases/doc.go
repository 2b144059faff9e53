// Package databases holds what the health checks of Redis and PostgreSQL say of
// real servers behind TLS, in the whole program: who may be trusted, and why not.
package databases
