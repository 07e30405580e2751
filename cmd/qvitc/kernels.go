package main

import "github.com/qvitc/qvitc/internal/kernel"

// kernelName says which set of kernels this machine gets.
func kernelName() string { return kernel.Name() }
