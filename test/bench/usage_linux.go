//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// cpuTime is the CPU time of the processes, all threads, in nanosecond
// resolution (the scheduler's own account).
func cpuTime(pids []int) (time.Duration, error) {
	var sum time.Duration
	for _, pid := range pids {
		tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil {
			return 0, err
		}
		if len(tasks) == 0 {
			return 0, fmt.Errorf("process %d is gone", pid)
		}
		for _, task := range tasks {
			content, err := os.ReadFile(task)
			if err != nil {
				continue // the thread has just ended
			}
			first, _, _ := strings.Cut(string(content), " ")
			n, err := strconv.ParseInt(first, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", task, err)
			}
			sum += time.Duration(n)
		}
	}
	return sum, nil
}

// residentBytes is the resident memory of the processes.
func residentBytes(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for _, line := range bytes.Split(content, []byte("\n")) {
			if rest, ok := bytes.CutPrefix(line, []byte("VmRSS:")); ok {
				kb, _ := strconv.ParseInt(strings.Fields(string(rest))[0], 10, 64)
				sum += kb << 10
			}
		}
	}
	return sum
}

// processTree is a process and its children.
func processTree(pid int) []int {
	pids := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, list := range lists {
		content, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(content)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, processTree(child)...)
			}
		}
	}
	return pids
}
