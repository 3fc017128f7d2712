// testbox is what Pods of the tests run.
//
//	testbox page ADDRESS NAME   a page that says "NAME saw CLIENT"
//	testbox echo ADDRESS NAME   the same by UDP, with what was sent
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
)

func servePages(address, name string) error {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		client, _, _ := net.SplitHostPort(r.RemoteAddr)
		fmt.Fprintf(w, "%s saw %s", name, client)
	})
	return http.ListenAndServe(address, nil)
}

func serveEchoes(address, name string) error {
	socket, err := net.ListenPacket("udp", address)
	if err != nil {
		return err
	}
	buffer := make([]byte, 65536)
	for {
		size, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return err
		}
		client, _, _ := net.SplitHostPort(from.String())
		answer := fmt.Sprintf("%s saw %s: %s", name, client, buffer[:size])
		if _, err := socket.WriteTo([]byte(answer), from); err != nil {
			log.Print(err)
		}
	}
}

func main() {
	serve := map[string]func(string, string) error{"page": servePages, "echo": serveEchoes}
	if len(os.Args) != 4 || serve[os.Args[1]] == nil {
		log.Fatal("usage: testbox page|echo ADDRESS NAME")
	}
	log.Fatal(serve[os.Args[1]](os.Args[2], os.Args[3]))
}
