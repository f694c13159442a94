package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// driver is one client and the program that drives it.
type driver struct {
	name         string
	title        string
	capabilities []string
	// prepare builds or installs it and returns the command; errMissing says what this machine lacks.
	prepare func(ctx context.Context, w *workplace) ([]string, error)
}

// errMissing is a client that cannot be run here.
var errMissing = errors.New("not installed")

// workplace is what all drivers share.
type workplace struct {
	source string // of this package
	temp   string
	addr   string
	only   string
	prefix string
	env    []string
}

const driverTimeout = 8 * time.Minute

func drivers() []driver {
	var java javaModule
	goDriver := func(name, title string, cgo string) driver {
		return driver{name: name, title: title, capabilities: ofClients, prepare: func(ctx context.Context, w *workplace) ([]string, error) {
			return prepareGo(ctx, w, name, cgo)
		}}
	}
	return []driver{
		goDriver("franz-go", "franz-go", "0"),
		goDriver("librdkafka", "librdkafka (confluent-kafka-go)", "1"),
		goDriver("sarama", "sarama", "0"),
		goDriver("kafka-go", "segmentio/kafka-go", "0"),
		{"kcat", "kcat", ofClients, prepareKcat},
		{"python-confluent", "python3-confluent-kafka", ofClients, preparePython("confluent_kafka", "confluent.py", "python3-confluent-kafka")},
		{"python-kafka", "python3-kafka", ofClients, preparePython("kafka", "kafka_python.py", "python3-kafka")},
		{"kafkajs", "kafkajs", ofClients, prepareNode("kafkajs.js")},
		{"platformatic", "@platformatic/kafka", ofClients, prepareNode("platformatic.js")},
		{"java", "Java client", ofClients, java.prepare("Client")},
		{"tools", "Kafka's tools", []string{"topics", "configs", "consumer-groups", "log-dirs", "delete-records", "transactions-tool", "features",
			"api-versions", "perf", "end-to-end", "console", "verifiable"}, java.prepare("Tools")},
		{"streams", "Kafka Streams", []string{"ktable", "windowed", "restore"}, java.prepare("Streams")},
		{"connect", "Kafka Connect", []string{"file-connectors", "debezium"}, java.prepare("Connect")},
	}
}

// command runs a step of a preparation; its output is the error.
func command(ctx context.Context, dir string, env []string, words ...string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(words, " "), err, last(string(out), 5))
	}
	return nil
}

func missing(programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("%w: no %s on this machine", errMissing, p)
		}
	}
	return nil
}

func prepareGo(ctx context.Context, w *workplace, name, cgo string) ([]string, error) {
	dir := filepath.Join(w.source, "golang")
	if cgo == "1" {
		compiler, err := exec.CommandContext(ctx, "go", "env", "CC").Output() // gcc or clang, by platform and by the user's wish; with flags
		if err != nil {
			return nil, fmt.Errorf("go env CC: %w", err)
		}
		if err := missing(strings.Fields(string(compiler))[0]); err != nil {
			return nil, err
		}
	}
	binary := filepath.Join(w.temp, "driver-"+name)
	err := command(ctx, dir, []string{"CGO_ENABLED=" + cgo, "GOFLAGS=-buildvcs=false"}, "go", "build", "-o", binary, "./"+name)
	return []string{binary}, err
}

func prepareKcat(_ context.Context, w *workplace) ([]string, error) {
	return []string{"bash", filepath.Join(w.source, "kcat", "driver.sh")}, missing("bash", "kcat")
}

// preparePython takes Debian's interpreter, since the packages are Debian's.
func preparePython(module, script, pkg string) func(context.Context, *workplace) ([]string, error) {
	return func(ctx context.Context, w *workplace) ([]string, error) {
		const python = "/usr/bin/python3"
		if err := missing(python); err != nil {
			return nil, err
		}
		if err := command(ctx, w.source, nil, python, "-c", "import "+module); err != nil {
			return nil, fmt.Errorf("%w: Debian package %s", errMissing, pkg)
		}
		return []string{python, "-B", filepath.Join(w.source, "python", script)}, nil
	}
}

func prepareNode(script string) func(context.Context, *workplace) ([]string, error) {
	return func(ctx context.Context, w *workplace) ([]string, error) {
		if err := missing("node", "npm"); err != nil {
			return nil, err
		}
		dir := filepath.Join(w.source, "node")
		if !newer(filepath.Join(dir, "node_modules", ".package-lock.json"), filepath.Join(dir, "package-lock.json")) { // npm writes the former last
			if err := command(ctx, dir, nil, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"); err != nil {
				return nil, fmt.Errorf("%w: %w", errMissing, err)
			}
		}
		return []string{"node", filepath.Join(dir, script)}, nil
	}
}

// newer tells whether the file at path is there, and was written after the other.
func newer(path, other string) bool {
	a, err := os.Stat(path)
	if err != nil {
		return false
	}
	b, err := os.Stat(other)
	return err == nil && a.ModTime().After(b.ModTime())
}

// javaModule is what the drivers in Java share: compiled once, and if it cannot be, for none of them.
type javaModule struct {
	once sync.Once
	err  error
}

func (m *javaModule) prepare(class string) func(context.Context, *workplace) ([]string, error) {
	return func(ctx context.Context, w *workplace) ([]string, error) {
		source, target := filepath.Join(w.source, "java"), filepath.Join(w.temp, "java")
		lib, classes := filepath.Join(target, "lib", "*"), filepath.Join(target, "classes")
		m.once.Do(func() { m.err = compileJava(ctx, source, lib, classes) })
		if m.err != nil {
			return nil, m.err
		}
		return []string{"java", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dlog4j2.configurationFile=" + filepath.Join(source, "log4j2.properties"),
			"-cp", strings.Join([]string{classes, source, lib}, ":"), class}, nil // source: META-INF
	}
}

// compileJava fetches the libraries of the module, and compiles it with them.
func compileJava(ctx context.Context, source, lib, classes string) error {
	if err := missing("java", "javac", "mvn"); err != nil {
		return err
	}
	if err := command(ctx, source, nil, "mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory="+filepath.Dir(lib), "-DincludeScope=runtime"); err != nil {
		return fmt.Errorf("%w: %w", errMissing, err)
	}
	files, err := filepath.Glob(filepath.Join(source, "*.java"))
	if err != nil {
		return err
	}
	return command(ctx, source, nil, append([]string{"javac", "-nowarn", "-d", classes, "-cp", lib}, files...)...)
}

// run drives one client. Its whole output goes to log.
func (d driver) run(ctx context.Context, w *workplace, words []string, log io.Writer) report {
	report := d.report()
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, driverTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	home := filepath.Join(w.temp, "work-"+d.name)
	if err := os.MkdirAll(home, 0o755); err != nil {
		return report.failed(d.wanted(w.only), err.Error())
	}
	cmd.Dir = home
	cmd.Env = append(append(os.Environ(), w.env...), "INTEROP_PREFIX="+w.prefix+"-"+d.name, "INTEROP_FOUR="+four(w, d))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // what a driver starts ends with it
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&output, log), log
	err := cmd.Run()
	report.Seconds = time.Since(began).Seconds()
	for lines := bufio.NewScanner(&output); lines.Scan(); {
		report.take(lines.Text())
	}
	why := "the driver ended without saying"
	if err != nil {
		why = fmt.Sprintf("the driver ended: %v", err)
	}
	return report.failed(d.wanted(w.only), why)
}

// report without any result.
func (d driver) report() report {
	return report{Client: d.name, Title: d.title, own: !slices.Contains(d.capabilities, ofClients[0])}
}

// wanted are the capabilities that a run asks of the driver.
func (d driver) wanted(only string) []string {
	if only == "" {
		return d.capabilities
	}
	return slices.DeleteFunc(slices.Clone(d.capabilities), func(c string) bool { return !slices.Contains(strings.Split(only, ","), c) })
}

func four(w *workplace, d driver) string { return w.prefix + "-" + d.name + "-four" }

func last(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
