package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "example.com/weighbridge-check/weighbridgepb"
)

const (
	attemptsMax  = 5
	backoffFirst = 100 * time.Millisecond
	backoffMax   = 2 * time.Second
)

// The exit codes of `weighbridge check`.
const (
	exitAllowed    = 0
	exitNoAnswer   = 1
	exitUsage      = 2
	exitConditions = 3
	exitReview     = 4
	exitIneligible = 5
	exitNotFound   = 6
)

// Settings say how to reach a server. Paths that are empty are not used.
type Settings struct {
	Server     string // https://HOST:PORT; http:// for plain text
	CACert     string // roots of the server's certificate, PEM; empty: those of the system
	ClientCert string
	ClientKey  string
	Token      string
}

// Answer is what came of a check. The zero value blocks.
type Answer struct {
	Allowed      bool
	Verdict      string
	Why          string
	ExitCode     int
	CallID       string
	Duties       []string
	MissingFacts []string
}

// Gate asks one server. Keep one for the life of the program: it holds the connection.
type Gate struct {
	connection *grpc.ClientConn
	client     pb.EligibilityServiceClient
	token      string
}

// NewGate connects in the background; a server that is not there shows in the first check.
func NewGate(settings Settings) (*Gate, error) {
	target, transport, err := settings.transport()
	if err != nil {
		return nil, err
	}
	connection, err := grpc.NewClient(target,
		grpc.WithTransportCredentials(transport),
		// Retries are made here, where RetryInfo is read: gRPC's own do not look at it, and both together would multiply.
		grpc.WithDisableRetry(),
		// A service config from DNS could otherwise bring retries of its own.
		grpc.WithDisableServiceConfig(),
		// A channel that could not connect fails every call until it tries again. By default that is a second later, and
		// the first retries would never reach the network.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: backoffFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffMax},
			MinConnectTimeout: 5 * time.Second,
		}),
		grpc.WithUserAgent("weighbridge-example-go"),
	)
	if err != nil {
		return nil, err
	}
	return &Gate{connection: connection, client: pb.NewEligibilityServiceClient(connection), token: settings.Token}, nil
}

// Close ends the connection.
func (gate *Gate) Close() error { return gate.connection.Close() }

// Check says whether a model may be used. The deadline of `ctx` bounds all attempts together, and has to be set: a gate that
// waits without end lets nothing through either, but nobody learns why.
func (gate *Gate) Check(ctx context.Context, request *pb.CheckEligibilityRequest, strictConditions bool) Answer {
	deadline, ok := ctx.Deadline()
	if !ok {
		return Answer{Verdict: "none", Why: "the context has no deadline", ExitCode: exitUsage}
	}
	if gate.token != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+gate.token)
	}
	for attempt := 1; ; attempt++ {
		var header, trailer metadata.MD
		// The deadline travels with the call, so the server gives up when the client does.
		response, err := gate.client.CheckEligibility(ctx, request, grpc.Header(&header), grpc.Trailer(&trailer))
		callID := callID(header, trailer)
		if err == nil {
			return judge(response, callID, strictConditions)
		}
		failed := status.Convert(err)
		if !retried(failed.Code()) || attempt >= attemptsMax {
			return unanswered(failed, callID)
		}
		wait := waitAfter(attempt, failed)
		// A wait that ends after the deadline could only turn this error into a less telling one.
		if time.Now().Add(wait).After(deadline) {
			return unanswered(failed, callID)
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return unanswered(failed, callID)
		}
	}
}

// judge is the one place where a model is let through.
func judge(response *pb.CheckEligibilityResponse, callID string, strictConditions bool) Answer {
	decision := response.GetDecision()
	if decision == nil {
		return Answer{Verdict: "none", Why: "the answer holds no decision", ExitCode: exitNoAnswer, CallID: callID}
	}
	answer := Answer{
		Verdict:      strings.TrimPrefix(decision.GetVerdict().String(), "VERDICT_"),
		Why:          decision.GetSummary(),
		CallID:       callID,
		MissingFacts: decision.GetMissingFacts(),
	}
	for _, duty := range decision.GetDuties() {
		answer.Duties = append(answer.Duties, duty.GetText())
	}
	switch decision.GetVerdict() {
	case pb.Verdict_VERDICT_ELIGIBLE:
		answer.Allowed, answer.ExitCode = true, exitAllowed
	case pb.Verdict_VERDICT_ELIGIBLE_WITH_CONDITIONS:
		if strictConditions {
			answer.ExitCode = exitConditions
		} else {
			answer.Allowed, answer.ExitCode = true, exitAllowed
		}
	case pb.Verdict_VERDICT_NEEDS_REVIEW:
		answer.ExitCode = exitReview
	case pb.Verdict_VERDICT_INELIGIBLE:
		answer.ExitCode = exitIneligible
	default:
		// proto3 enums are open: a verdict of a newer server arrives as a number without a name, and blocks like any other.
		answer.ExitCode = exitNoAnswer
	}
	return answer
}

// retried: nothing was decided, and asking again may help. All else is final: a second try would get the same answer.
func retried(code codes.Code) bool {
	return code == codes.Unavailable || code == codes.ResourceExhausted
}

func waitAfter(attempt int, failed *status.Status) time.Duration {
	wait := min(backoffFirst<<(attempt-1), backoffMax)
	// Clients that were turned away together must not come back together.
	wait = wait/2 + rand.N(wait/2)
	for _, detail := range failed.Details() {
		// The server knows when there is room; the jitter still comes on top.
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() > 0 {
			// Bounded, so that no sum overflows; an hour is beyond any deadline of a gate.
			return min(info.GetRetryDelay().AsDuration(), time.Hour) + wait
		}
	}
	return wait
}

func unanswered(failed *status.Status, callID string) Answer {
	answer := Answer{Verdict: "none", ExitCode: exitNoAnswer, CallID: callID}
	reason := ""
	for _, detail := range failed.Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			reason = " (" + info.GetReason() + ")"
			// Only the registry's own word says that a model is not known: a proxy that finds no route says NotFound, too.
			if failed.Code() == codes.NotFound && info.GetDomain() == "weighbridge" {
				answer.ExitCode = exitNotFound
			}
		}
	}
	if failed.Code() == codes.InvalidArgument || failed.Code() == codes.Unimplemented {
		answer.ExitCode = exitUsage
	}
	answer.Why = fmt.Sprintf("%s%s: %s", failed.Code(), reason, failed.Message())
	return answer
}

func callID(of ...metadata.MD) string {
	for _, values := range of {
		if found := values.Get("weighbridge-call-id"); len(found) > 0 {
			return found[0]
		}
	}
	return ""
}

// transport reads the address and the certificates.
func (settings Settings) transport() (string, credentials.TransportCredentials, error) {
	address := settings.Server
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	server, err := url.Parse(address)
	if err != nil || server.Hostname() == "" || server.Port() == "" || strings.Trim(server.Path, "/") != "" {
		return "", nil, fmt.Errorf("`%s` is no address: write https://HOST:PORT", settings.Server)
	}
	if (settings.ClientCert == "") != (settings.ClientKey == "") {
		return "", nil, errors.New("a client certificate and its key go together")
	}
	target := net.JoinHostPort(server.Hostname(), server.Port())
	switch server.Scheme {
	case "https":
		config, err := settings.tls()
		if err != nil {
			return "", nil, err
		}
		return target, credentials.NewTLS(config), nil
	case "http":
		if settings.CACert != "" || settings.ClientCert != "" {
			return "", nil, errors.New("certificates need https://")
		}
		// Who reads a token on its way can use it.
		if settings.Token != "" && !isLoopback(server.Hostname()) {
			return "", nil, errors.New("a token is only sent over https://, or to this machine")
		}
		return target, insecure.NewCredentials(), nil
	default:
		return "", nil, fmt.Errorf("`%s` is no address: write https://HOST:PORT", settings.Server)
	}
}

func (settings Settings) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if settings.CACert != "" {
		pem, err := os.ReadFile(settings.CACert)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("`%s` holds no certificate", settings.CACert)
		}
	}
	if settings.ClientCert != "" {
		pair, err := tls.LoadX509KeyPair(settings.ClientCert, settings.ClientKey)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	return config, nil
}

func isLoopback(host string) bool {
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}
