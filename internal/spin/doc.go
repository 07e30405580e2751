// Package spin is for goroutines that hand each other work of a few microseconds.
// Waking a goroutine that sleeps takes longer than that, so whoever waits first
// looks again and again for a bounded time:
//
//	var done atomic.Bool
//	task := spin.NewTask(func() { part(1); done.Store(true) })
//	task.Start()   // on a goroutine that has just ended other work, or a new one
//	part(0)
//	spin.Until(50*time.Microsecond, done.Load) // false: not yet; sleep then
//
// Nothing here runs longer than its bound without work: a goroutine that has done
// its task looks for another one for Patience and ends. With one processor nobody
// looks at all.
package spin
