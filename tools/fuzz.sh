#!/bin/sh
# Runs every fuzz target of the module for $FUZZTIME, one after the other. The
# default is a number of executions: a time that runs out while an input is being
# minimised fails a target without a finding (golang/go#75804).
set -eu
for package in $(${GO:-go} list ./...); do
	for target in $(${GO:-go} test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		${GO:-go} test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-200000x}" "$package"
	done
done
