// Weighbridge-check asks a Weighbridge server whether a model may be used, and fails closed.
//
//	weighbridge-check -use use.json meta-llama/Llama-3.3-70B-Instruct
//
// Only the verdicts ELIGIBLE and ELIGIBLE_WITH_CONDITIONS let a model through. Everything else blocks: any other verdict, one
// that this client does not know, an answer without a decision, and any failure to get an answer.
//
// The exit codes are those of `weighbridge check`: 0 may be used, 3 with conditions and -strict-conditions, 4 needs a review,
// 5 ineligible, 6 the model is not known, 2 wrong arguments, 1 no answer.
//
// gate.go is the part to take into a program: go on only if Answer.Allowed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	pb "example.com/weighbridge-check/weighbridgepb"
)

func main() {
	// Also a panic must not look like a yes; Go ends with status 2 then, which blocks.
	os.Exit(run())
}

func run() int {
	var settings Settings
	flag.StringVar(&settings.Server, "server", environment("WEIGHBRIDGE_SERVER", "http://127.0.0.1:50051"), "https://HOST:PORT")
	flag.StringVar(&settings.CACert, "ca-cert", "", "roots of the server's certificate, PEM")
	flag.StringVar(&settings.ClientCert, "client-cert", "", "PEM")
	flag.StringVar(&settings.ClientKey, "client-key", "", "PEM")
	// A token as an argument would be shown to everybody who lists processes, so there is none.
	tokenFile := flag.String("token-file", "", "or the variable WEIGHBRIDGE_TOKEN")
	useFile := flag.String("use", "", "facts of the use, JSON")
	profile := flag.String("profile", "", "useProfiles/…, whose facts apply where the use is silent")
	timeout := flag.Duration("timeout", 10*time.Second, "for all attempts together")
	strict := flag.Bool("strict-conditions", false, "block where duties remain")
	flag.Parse()
	if flag.NArg() != 1 {
		return usage(errors.New("name one model"))
	}
	var err error
	if settings.Token, err = token(*tokenFile); err != nil {
		return usage(err)
	}
	request, err := request(flag.Arg(0), *useFile, *profile)
	if err != nil {
		return usage(err)
	}
	gate, err := NewGate(settings)
	if err != nil {
		return usage(err)
	}
	defer gate.Close()
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	answer := gate.Check(ctx, request, *strict)
	show(answer)
	return answer.ExitCode
}

func show(answer Answer) {
	word := "BLOCKED"
	if answer.Allowed {
		word = "ALLOWED"
	}
	fmt.Printf("%s  %s  %s\n", word, answer.Verdict, answer.Why)
	for _, duty := range answer.Duties {
		fmt.Printf("  duty: %s\n", duty)
	}
	for _, fact := range answer.MissingFacts {
		fmt.Printf("  missing: %s\n", fact)
	}
	if answer.CallID != "" {
		fmt.Printf("  call: %s\n", answer.CallID)
	}
}

func request(model, useFile, profile string) (*pb.CheckEligibilityRequest, error) {
	request := &pb.CheckEligibilityRequest{Model: model, Use: &pb.Use{}, UseProfile: profile}
	if useFile == "" {
		return request, nil
	}
	text, err := os.ReadFile(useFile)
	if err != nil {
		return nil, err
	}
	// Unknown fields are refused: a misspelt fact would be a fact that is silently not given.
	if err := protojson.Unmarshal(text, request.Use); err != nil {
		return nil, fmt.Errorf("`%s`: %w", useFile, err)
	}
	return request, nil
}

func token(path string) (string, error) {
	if path == "" {
		return strings.TrimSpace(os.Getenv("WEIGHBRIDGE_TOKEN")), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	found := strings.TrimSpace(string(text))
	if found == "" {
		return "", fmt.Errorf("`%s` is empty", path)
	}
	return found, nil
}

func usage(err error) int {
	fmt.Fprintf(os.Stderr, "error: %s\n", err)
	return exitUsage
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}
