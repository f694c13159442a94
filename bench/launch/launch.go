// Package launch starts a broker, whichever, by a command, on free ports of loopback and on a directory, and says how long that took.
//
//	b, err := launch.Start(ctx, launch.Parse("bench/peers/kafka/kafka.sh up --port {port} --dir {dir}"), dir)
//	fmt.Println(b.Took, b.Addr)
//	err = b.Stop()
//
// The command is the broker, or starts one in the background and ends. In it {dir} stands for the directory, {port} for the port at which the broker
// is to speak the Kafka protocol, and {port+1} for the next, which is free too: for the state plane of one that has one. What is measured begins with
// the process that listens in the end, whatever a script does before it, and ends with the answer to its first ApiVersions.
package launch

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Command is how a broker is started.
type Command []string

// The words that are filled in.
const (
	wordDir  = "{dir}"
	wordPort = "{port}"
	wordNext = "{port+1}"
)

// Parse reads a command line: words between blanks, without quotes.
func Parse(line string) Command { return strings.Fields(line) }

// Keyframe is one of ours, by that binary.
func Keyframe(binary string) Command {
	return Command{binary, "serve", "--data-dir", wordDir, "--kafka-addr", "127.0.0.1:" + wordPort, "--state-addr", "127.0.0.1:" + wordNext, "--log-level", "error"}
}

// Validate refuses a command that says neither where its broker is to be found nor where it keeps its data.
func (c Command) Validate() error {
	if len(c) == 0 {
		return errors.New("the command that starts a broker is empty")
	}
	for _, word := range []string{wordDir, wordPort} {
		if !slices.ContainsFunc(c, func(s string) bool { return strings.Contains(s, word) }) {
			return fmt.Errorf("the command that starts a broker, %q, has no %s in it", strings.Join(c, " "), word)
		}
	}
	return nil
}

// fill puts in what the words stand for.
func (c Command) fill(dir string, port int) []string {
	words := strings.NewReplacer(wordDir, dir, wordPort, strconv.Itoa(port), wordNext, strconv.Itoa(port+1))
	out := make([]string, len(c))
	for i, s := range c {
		out[i] = words.Replace(s)
	}
	return out
}

// freePort returns one of loopback that is free, as is the next. It is none of those that the system gives to who asks for any, from 32768 on: one of
// these would be somebody else's by the time at which the broker listens, where much goes on.
func freePort() (int, error) {
	const attempts, first, many = 100, 15_000, 17_000
	for range attempts {
		port := first + rand.IntN(many)
		one, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue // somebody listens there
		}
		next, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		if err == nil {
			return port, errors.Join(next.Close(), one.Close())
		}
		if err := one.Close(); err != nil {
			return 0, err
		}
	}
	return 0, errors.New("no two ports of loopback that follow each other are free")
}
