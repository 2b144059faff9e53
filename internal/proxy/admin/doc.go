// Package admin serves the pages where operators and tools ask a running
// proxy, and the one call that changes something: POST /reload. It is not on
// the request path and uses net/http.
//
// There is no login. What protects the pages instead: the address is on
// loopback or a Unix socket that only its owner may open; a Host that is not
// the admin's own is refused, so that a name that an attacker points at
// loopback (DNS rebinding) gets nothing; calls from pages of other origins are
// refused; and calls that change something need a content type that no form
// can send. What is shown has passed the redaction of the documents.
//
// The package knows no other stage: the engine gives it Views.
package admin
