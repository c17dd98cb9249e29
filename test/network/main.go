// Command network plays the network between the parts of an installation: toxiproxy
// within this process, told over its HTTP API what befalls which link. It is a module
// of its own, so that toxiproxy's dependencies do not touch the product. It refuses
// to outlive whoever started it: it ends with its standard input.
package main

import (
	"fmt"
	"io"
	"net"
	"os"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

func main() {
	if len(os.Args) != 2 {
		end("usage: network HOST:PORT, where its API listens")
	}
	host, port, err := net.SplitHostPort(os.Args[1])
	if err != nil {
		end(err.Error() + "; write host:port")
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // nothing is ever written: it returns at the end
		os.Exit(0)
	}()
	logger := zerolog.New(os.Stderr).Level(zerolog.ErrorLevel)
	toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), logger).Listen(host, port)
}

func end(why string) {
	_, _ = fmt.Fprintln(os.Stderr, why)
	os.Exit(2)
}
