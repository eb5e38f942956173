package main

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// list gets one path several times over one connection: seconds of each until the last byte, and the bytes.
func list(command Command) (Answer, error) {
	conn, err := dial(command.Target)
	if err != nil {
		return nil, err
	}
	defer conn.close()
	request := command.Target.request("GET", command.Path, command.Accept, "", "")
	seconds := []float64{}
	var size int64
	for range max(command.Repeat, 1) {
		began := time.Now()
		if _, size, err = conn.do(request); err != nil {
			return nil, err
		}
		seconds = append(seconds, time.Since(began).Seconds())
	}
	return Answer{"seconds": seconds, "bytes": size}, nil
}

// drain lists several collections at once, each page by page, and throws away what comes.
func drain(command Command) (Answer, error) {
	began := time.Now()
	var size atomic.Int64
	failures := make(chan error, len(command.Paths))
	for _, path := range command.Paths {
		go func() { failures <- drainOne(command, path, &size) }()
	}
	for range command.Paths {
		if err := <-failures; err != nil {
			return nil, err
		}
	}
	return Answer{"seconds": time.Since(began).Seconds(), "bytes": size.Load()}, nil
}

func drainOne(command Command, path string, size *atomic.Int64) error {
	conn, err := dial(command.Target)
	if err != nil {
		return err
	}
	defer conn.close()
	token := ""
	head := make([]byte, 4096)
	for {
		page := path
		if command.Limit > 0 {
			page = fmt.Sprintf("%s?limit=%d", path, command.Limit)
			if token != "" {
				page += "&continue=" + url.QueryEscape(token)
			}
		}
		response, err := conn.open(command.Target.request("GET", page, command.Accept, "", ""))
		if err != nil {
			return err
		}
		if response.StatusCode >= 400 {
			return fmt.Errorf("%s: %s", path, response.Status)
		}
		read, err := io.ReadFull(response.Body, head) // a list's metadata comes before its items
		if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
			return err
		}
		rest, err := io.Copy(io.Discard, response.Body)
		if err != nil {
			return err
		}
		size.Add(int64(read) + rest)
		token = ""
		if _, after, found := bytes.Cut(head[:read], []byte(`"continue":"`)); found && command.Limit > 0 {
			token, _, _ = strings.Cut(string(after), `"`)
		}
		if token == "" {
			return nil
		}
	}
}

// rate gets one path again and again over several connections.
func rate(command Command) (Answer, error) {
	request := command.Target.request("GET", command.Path, command.Accept, "", "")
	conns := []*connection{}
	defer func() {
		for _, conn := range conns {
			conn.close()
		}
	}()
	for range command.Connections {
		conn, err := dial(command.Target)
		if err != nil {
			return nil, err
		}
		conns = append(conns, conn)
		if _, _, err := conn.do(request); err != nil {
			return nil, err
		}
	}
	times := make([][]float64, len(conns))
	failures := make(chan error, len(conns))
	began := time.Now()
	until := began.Add(time.Duration(command.Seconds * float64(time.Second)))
	for number, conn := range conns {
		go func() {
			for before := time.Now(); before.Before(until); {
				if _, _, err := conn.do(request); err != nil {
					failures <- err
					return
				}
				now := time.Now()
				times[number] = append(times[number], now.Sub(before).Seconds())
				before = now
			}
			failures <- nil
		}()
	}
	for range conns {
		if err := <-failures; err != nil {
			return nil, err
		}
	}
	elapsed := time.Since(began).Seconds()
	all := slices.Concat(times...)
	slices.Sort(all)
	return Answer{
		"requests": len(all), "seconds": elapsed,
		"p50": all[len(all)/2], "p99": all[len(all)*99/100],
	}, nil
}

// fill makes the requests of a file (or FIFO). A line is a job: requests that follow one another, apart by 0x1e;
// a request is method, path and body, apart by 0x1f. An empty line: go on when all before it is done. What is
// there already (409) counts as done.
func fill(command Command) (Answer, error) {
	began := time.Now()
	var done atomic.Int64
	var problem atomic.Pointer[string]
	jobs := make(chan string, 4*command.Connections)
	var pending, workers sync.WaitGroup
	for range command.Connections {
		workers.Add(1)
		go func() {
			defer workers.Done()
			var conn *connection
			for job := range jobs {
				for _, part := range strings.Split(job, "\x1e") {
					fields := strings.SplitN(part, "\x1f", 3)
					if err := perform(command.Target, &conn, fields); err != nil {
						text := fmt.Sprintf("%s %s: %s", fields[0], fields[1], err)
						problem.CompareAndSwap(nil, &text)
					}
					done.Add(1)
				}
				pending.Done()
			}
			if conn != nil {
				conn.close()
			}
		}()
	}
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(10 * time.Second):
				say(Answer{"progress": done.Load()})
			}
		}
	}()
	err := readLines(command.File, func(line string) {
		if line == "" {
			pending.Wait()
			return
		}
		pending.Add(1)
		jobs <- line
	})
	close(jobs)
	workers.Wait()
	close(stop)
	if err != nil {
		return nil, err
	}
	if text := problem.Load(); text != nil {
		return nil, fmt.Errorf("%s", *text)
	}
	return Answer{"requests": done.Load(), "seconds": time.Since(began).Seconds()}, nil
}

func perform(target Target, conn **connection, fields []string) error {
	for attempt := 0; ; attempt++ {
		var err error
		if *conn == nil {
			*conn, err = dial(target)
		}
		if err == nil {
			var status int
			status, _, err = (*conn).do(target.request(fields[0], fields[1], "", "", fields[2]))
			if err == nil || status == 409 {
				return nil
			}
			if status != 0 && status != 429 && status < 500 {
				return err
			}
			if status == 0 {
				(*conn).close()
				*conn = nil
			}
		}
		if attempt == 5 {
			return err
		}
		time.Sleep(500 * time.Millisecond)
	}
}
