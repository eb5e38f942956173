package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// event is a change that watches are waiting for.
type event struct {
	needle []byte
	expect int
	mutex  sync.Mutex
	times  []time.Time
	done   chan struct{}
}

func (e *event) seen(now time.Time) {
	e.mutex.Lock()
	defer e.mutex.Unlock()
	e.times = append(e.times, now)
	if len(e.times) == e.expect {
		close(e.done)
	}
}

var (
	current atomic.Pointer[event]
	opened  struct {
		sync.Mutex
		conns []*connection
	}
	failed  atomic.Pointer[string] // why a watch has ended
	leaving atomic.Bool
)

// frames reads a watch event by event; each slice is good until the next is read.
type frames struct {
	reader *bufio.Reader
	proto  bool
	buffer []byte
}

func (f *frames) next() (frame []byte, bookmark bool, err error) {
	if f.proto {
		var head [4]byte
		if _, err := io.ReadFull(f.reader, head[:]); err != nil {
			return nil, false, err
		}
		length := int(binary.BigEndian.Uint32(head[:]))
		if cap(f.buffer) < length {
			f.buffer = make([]byte, length)
		}
		frame = f.buffer[:length]
		if _, err := io.ReadFull(f.reader, frame); err != nil {
			return nil, false, err
		}
		return frame, bytes.HasPrefix(frame, []byte("\x0a\x08BOOKMARK")), nil
	}
	f.buffer = f.buffer[:0]
	for {
		part, err := f.reader.ReadSlice('\n')
		if err == nil && len(f.buffer) == 0 {
			return part, bytes.HasPrefix(part, []byte(`{"type":"BOOKMARK"`)), nil
		}
		f.buffer = append(f.buffer, part...)
		if err == nil {
			return f.buffer, bytes.HasPrefix(f.buffer, []byte(`{"type":"BOOKMARK"`)), nil
		}
		if err != bufio.ErrBufferFull {
			return nil, false, err
		}
	}
}

// watch opens watches, all at once, and waits until each has its state: the first bookmark, or the answer's head.
func watch(command Command) (Answer, error) {
	began := time.Now()
	var size, retries atomic.Int64
	var first sync.Once
	var firstReady time.Time
	failures := make(chan error, len(command.Watches))
	failed.Store(nil)
	leaving.Store(false)
	for _, one := range command.Watches {
		target := command.Target
		if one.Token != "" {
			target.Token = one.Token
		}
		go func() {
			var err error
			for attempt := 0; attempt < 20; attempt++ {
				if attempt > 0 {
					retries.Add(1)
					time.Sleep(200 * time.Millisecond)
				}
				if err = open(command, target, one.Path, &size); err == nil {
					first.Do(func() { firstReady = time.Now() })
					break
				}
			}
			failures <- err
		}()
	}
	for range command.Watches {
		if err := <-failures; err != nil {
			return nil, err
		}
	}
	elapsed := time.Since(began).Seconds()
	return Answer{
		"seconds": elapsed, "first": firstReady.Sub(began).Seconds(), "bytes": size.Load(),
		"retries": retries.Load(),
	}, nil
}

func open(command Command, target Target, path string, size *atomic.Int64) error {
	conn, err := dial(target)
	if err != nil {
		return err
	}
	response, err := conn.open(target.request("GET", path, command.Accept, "", ""))
	if err == nil && response.StatusCode != 200 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
		err = fmt.Errorf("%s: %s", response.Status, text)
	}
	if err != nil {
		conn.close()
		return err
	}
	stream := &frames{
		reader: bufio.NewReaderSize(response.Body, 4096),
		proto:  strings.Contains(command.Accept, "protobuf"),
	}
	if command.Until == "bookmark" {
		for {
			frame, bookmark, err := stream.next()
			if err != nil {
				conn.close()
				return err
			}
			size.Add(int64(len(frame)))
			if bookmark {
				break
			}
		}
	}
	opened.Lock()
	opened.conns = append(opened.conns, conn)
	opened.Unlock()
	go follow(stream, path)
	return nil
}

func follow(stream *frames, path string) {
	var last *event
	for {
		frame, bookmark, err := stream.next()
		if err != nil {
			if !leaving.Load() {
				text := path + ": " + err.Error()
				failed.CompareAndSwap(nil, &text)
			}
			return
		}
		now := time.Now()
		waiting := current.Load()
		if bookmark || waiting == nil || waiting == last || !bytes.Contains(frame, waiting.needle) {
			continue
		}
		last = waiting
		waiting.seen(now)
	}
}

var changer *connection

// change makes one request, and waits until the watches that are open have the event that follows from it.
// Seconds since the request: its answer, the first event, the last.
func change(command Command) (Answer, error) {
	var err error
	if changer == nil || changer.target != command.Target {
		if changer, err = dial(command.Target); err != nil {
			return nil, err
		}
	}
	waiting := &event{needle: []byte(command.Needle), expect: command.Expect, done: make(chan struct{})}
	if waiting.expect == 0 {
		opened.Lock()
		waiting.expect = len(opened.conns)
		opened.Unlock()
	}
	if command.Expect >= 0 {
		current.Store(waiting)
	}
	request := command.Target.request(command.Method, command.Path, "", command.ContentType, command.Body)
	began := time.Now()
	if _, _, err := changer.do(request); err != nil {
		return nil, err
	}
	answered := time.Since(began).Seconds()
	if command.Expect < 0 { // nobody waits for this one
		return Answer{"answer": answered}, nil
	}
	select {
	case <-waiting.done:
	case <-time.After(time.Duration(command.Seconds * float64(time.Second))):
		waiting.mutex.Lock()
		defer waiting.mutex.Unlock()
		if text := failed.Load(); text != nil {
			return nil, fmt.Errorf("a watch has ended: %s", *text)
		}
		return nil, fmt.Errorf("after %g s %d of %d watches have their event",
			command.Seconds, len(waiting.times), waiting.expect)
	}
	current.Store(nil)
	// Watches record their events as they are scheduled, not in the order of the clock.
	first, last := waiting.times[0], waiting.times[0]
	for _, at := range waiting.times {
		if at.Before(first) {
			first = at
		}
		if at.After(last) {
			last = at
		}
	}
	return Answer{
		"answer": answered, "first": first.Sub(began).Seconds(), "last": last.Sub(began).Seconds(),
	}, nil
}

// leave closes all watches.
func leave(Command) (Answer, error) {
	leaving.Store(true)
	opened.Lock()
	defer opened.Unlock()
	for _, conn := range opened.conns {
		conn.close()
	}
	count := len(opened.conns)
	opened.conns = nil
	return Answer{"left": count}, nil
}

func readLines(path string, use func(string)) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	for {
		line, err := reader.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		use(strings.TrimSuffix(line, "\n"))
	}
}
