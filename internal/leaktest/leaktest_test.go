package leaktest

import "testing"

func TestRunning(t *testing.T) {
	t.Parallel()
	stop, started := make(chan struct{}), make(chan struct{})
	go func() { close(started); <-stop }()
	<-started
	if !running(all(), "internal/leaktest") {
		t.Error("a goroutine runs and is not seen")
	}
	close(stop)
	const main = "goroutine 1 [running]:\nexample.com/wire/http9.TestMain(0x1)\n\t/a.go:1"
	if running(main, "wire/http9") {
		t.Error("TestMain is taken for a goroutine that is left")
	}
	if running(main, "wire/other") || !running(main+"\n\ngoroutine 2 [select]:\nexample.com/wire/http9.walk()\n\t/a.go:2", "wire/http9") {
		t.Error("the package is not looked at")
	}
}
