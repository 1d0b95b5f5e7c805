// The Go port of `engine.io` on `net/http`, as far as `servers/foreign.ts` asks.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/zishang520/socket.io/servers/engine/v3"
	"github.com/zishang520/socket.io/servers/engine/v3/config"
	"github.com/zishang520/socket.io/v3/pkg/types"
)

var texts [80]string

// A reader is read once, so that each client needs its own.
func text(index int) io.Reader {
	return types.NewStringBufferString(texts[index%len(texts)])
}

func control(server engine.Server) {
	for index := range texts {
		texts[index] = fmt.Sprintf("%04d-The quick brown fox jumps o", index)
	}
	input := bufio.NewReader(os.Stdin)
	broadcasts := 0
	for {
		command, err := input.ReadByte()
		if err != nil {
			os.Exit(0)
		}
		sockets := server.Clients()
		switch command {
		case 'b':
			for _, socket := range sockets.Values() {
				socket.Send(text(broadcasts), nil, nil)
			}
			broadcasts++
		case 'u':
			for index := range 10_000 {
				sockets.Values()[0].Send(text(index), nil, nil)
			}
		default:
			fmt.Println(sockets.Len())
		}
	}
}

func main() {
	options := &config.ServerOptions{}
	options.SetMaxHttpBufferSize(2 << 20)
	server := engine.NewServer(options)
	server.On("connection", func(sockets ...any) {
		socket := sockets[0].(engine.Socket)
		socket.On("message", func(messages ...any) {
			socket.Send(messages[0].(io.Reader), nil, nil)
		})
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go control(server)
	panic(http.Serve(listener, server))
}
