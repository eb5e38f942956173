package main

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// connection is one TLS connection that carries one request after the other.
type connection struct {
	target Target
	tls    *tls.Conn
	reader *bufio.Reader
}

var certificates sync.Map // of Target.Cert, so that a thousand connections read the files once

func (target Target) config() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
	if target.Cert != "" {
		found, loaded := certificates.Load(target.Cert)
		if !loaded {
			pair, err := tls.LoadX509KeyPair(target.Cert, target.Key)
			if err != nil {
				return nil, err
			}
			found, _ = certificates.LoadOrStore(target.Cert, pair)
		}
		config.Certificates = []tls.Certificate{found.(tls.Certificate)}
	}
	return config, nil
}

func dial(target Target) (*connection, error) {
	config, err := target.config()
	if err != nil {
		return nil, err
	}
	raw, err := net.DialTimeout("tcp", target.Address, 30*time.Second)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	raw.SetDeadline(time.Now().Add(120 * time.Second))
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	raw.SetDeadline(time.Time{})
	return &connection{target, conn, bufio.NewReaderSize(conn, 16<<10)}, nil
}

func (c *connection) close() { c.tls.Close() }

// request is the text of one request.
func (target Target) request(method, path, accept, contentType, body string) []byte {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: load\r\n", method, path, target.Address)
	if accept == "" {
		accept = "application/json"
	}
	fmt.Fprintf(&text, "Accept: %s\r\n", accept)
	if target.Token != "" {
		fmt.Fprintf(&text, "Authorization: Bearer %s\r\n", target.Token)
	}
	if body != "" || (method != "GET" && method != "DELETE") {
		if contentType == "" {
			contentType = "application/json"
		}
		fmt.Fprintf(&text, "Content-Type: %s\r\nContent-Length: %d\r\n", contentType, len(body))
	}
	text.WriteString("\r\n")
	text.WriteString(body)
	return []byte(text.String())
}

// open sends a request and returns the head of the answer.
func (c *connection) open(request []byte) (*http.Response, error) {
	if _, err := c.tls.Write(request); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.reader, nil)
}

// do sends a request and reads all of the answer; the body of a failure is in the error.
func (c *connection) do(request []byte) (status int, size int64, err error) {
	response, err := c.open(request)
	if err != nil {
		return 0, 0, err
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 2000))
		io.Copy(io.Discard, response.Body)
		return response.StatusCode, 0, fmt.Errorf("%s: %s", response.Status, text)
	}
	size, err = io.Copy(io.Discard, response.Body)
	return response.StatusCode, size, err
}
