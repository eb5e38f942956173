// Command load puts load on an HTTPS server over HTTP/1.1 and measures it. It reads commands as JSON lines and
// answers each with a JSON line; see the types below. The benchmarks of the API server are made of it, because
// whoever measures must not be slower than what is measured.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"sync"
)

// Command is one line of input; which fields count depends on Do.
type Command struct {
	Do          string
	Target      Target
	Path        string
	Paths       []string // drain
	Accept      string
	Method      string // change
	Body        string // change
	ContentType string // change
	Needle      string // change: what an event has to contain; empty: any event
	Expect      int    // change: how many watches get it; 0: all
	File        string // fill
	Connections int
	Repeat      int
	Limit       int
	Seconds     float64
	Until       string // watch: "bookmark" or "headers"
	Watches     []Watch
}

// Target is a server and who one is to it. Its certificate is not checked: it is on loopback, and known.
type Target struct {
	Address string // host:port
	Cert    string // files of a client certificate
	Key     string
	Token   string
}

// Watch is one watch to be opened.
type Watch struct {
	Path  string
	Token string
}

// Answer is one line of output.
type Answer map[string]any

var output sync.Mutex

func say(answer Answer) {
	output.Lock()
	defer output.Unlock()
	line, err := json.Marshal(answer)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func main() {
	handlers := map[string]func(Command) (Answer, error){
		"list": list, "drain": drain, "rate": rate, "watch": watch, "change": change, "fill": fill,
		"leave": leave,
	}
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	decoder := json.NewDecoder(input)
	for {
		var command Command
		if err := decoder.Decode(&command); err != nil {
			return
		}
		handler, found := handlers[command.Do]
		if !found {
			say(Answer{"error": "unknown command " + command.Do})
			continue
		}
		answer, err := handler(command)
		if err != nil {
			answer = Answer{"error": err.Error()}
		}
		say(answer)
	}
}
