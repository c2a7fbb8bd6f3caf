// A node without containers: it takes pods, calls them ready, runs `exec` on this machine and lets pods end.
//
//	node KUBECONFIG NAME...
//
// Stands in for the scheduler and the kubelet. A pod whose image is `fails` ends with phase Failed, one that is not restarted
// ends with Succeeded, one with the annotation `lab/stays` does not end when it is deleted.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

const pause = 100 * time.Millisecond

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: node KUBECONFIG NAME...")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	config.QPS, config.Burst = 200, 200
	client := kubernetes.NewForConfigOrDie(config)
	port := serve()
	for _, name := range os.Args[2:] {
		if err := register(client, name, port); err != nil {
			log.Fatal(err)
		}
	}
	for ; ; time.Sleep(pause) {
		if err := turn(client); err != nil {
			log.Print(err)
		}
	}
}

// register creates a node that is ready.
func register(client kubernetes.Interface, name string, port int32) error {
	nodes, ctx := client.CoreV1().Nodes(), context.Background()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"node-role.kubernetes.io/worker": ""}}}
	made, err := nodes.Create(ctx, node, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		made, err = nodes.Get(ctx, name, metav1.GetOptions{})
	}
	if err != nil {
		return err
	}
	made.Status = corev1.NodeStatus{
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "Lab"}},
		NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.36.3", KernelVersion: "6.1.0"},
	}
	_, err = nodes.UpdateStatus(ctx, made, metav1.UpdateOptions{})
	return err
}

// turn does for every pod what is due.
func turn(client kubernetes.Interface) error {
	ctx := context.Background()
	pods, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return err
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		switch {
		case pod.DeletionTimestamp != nil:
			if _, stays := pod.Annotations["lab/stays"]; stays || pod.Spec.NodeName == "" {
				continue
			}
			now := int64(0)
			err = client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, metav1.DeleteOptions{
				GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(pod.UID)),
			})
		case pod.Spec.NodeName == "":
			err = place(client, pod, nodes.Items)
		case pod.Status.Phase == corev1.PodPending || pod.Status.Phase == "":
			err = start(client, pod)
		}
		if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
			log.Printf("pod %s/%s: %v", pod.Namespace, pod.Name, err)
		}
	}
	return nil
}

// place binds a pod to the first node that takes pods.
func place(client kubernetes.Interface, pod *corev1.Pod, nodes []corev1.Node) error {
	for _, node := range nodes {
		if node.Spec.Unschedulable {
			continue
		}
		return client.CoreV1().Pods(pod.Namespace).Bind(context.Background(), &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: pod.Name, UID: pod.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: node.Name},
		}, metav1.CreateOptions{})
	}
	return nil
}

// start says that a pod runs, or how it ended.
func start(client kubernetes.Interface, pod *corev1.Pod) error {
	now := metav1.Now()
	pod.Status.Phase = corev1.PodRunning
	ready := corev1.ConditionTrue
	switch {
	case pod.Spec.Containers[0].Image == "fails":
		pod.Status.Phase, ready = corev1.PodFailed, corev1.ConditionFalse
	case pod.Spec.RestartPolicy != corev1.RestartPolicyAlways:
		pod.Status.Phase, ready = corev1.PodSucceeded, corev1.ConditionFalse
	}
	pod.Status.StartTime = &now
	pod.Status.Conditions = []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
		{Type: corev1.PodReady, Status: ready, LastTransitionTime: now},
		{Type: corev1.ContainersReady, Status: ready, LastTransitionTime: now},
	}
	pod.Status.ContainerStatuses = nil
	for _, container := range pod.Spec.Containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: container.Name, Image: container.Image, Ready: ready == corev1.ConditionTrue,
			State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
		})
	}
	_, err := client.CoreV1().Pods(pod.Namespace).UpdateStatus(context.Background(), pod, metav1.UpdateOptions{})
	return err
}

// serve answers what an API server asks a kubelet, and returns the port.
func serve() int32 {
	routes := http.NewServeMux()
	routes.HandleFunc("/exec/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		options, err := remotecommand.NewOptions(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		remotecommand.ServeExec(w, r, machine{}, r.PathValue("pod"), "", r.PathValue("container"), r.URL.Query()["command"],
			options, time.Hour, 30*time.Second, remotecommand.SupportedStreamingProtocols)
	})
	routes.HandleFunc("/containerLogs/{namespace}/{pod}/{container}", func(w http.ResponseWriter, r *http.Request) {
		lines := []string{"first", "second", "third"}
		if tail := r.URL.Query().Get("tailLines"); tail == "1" {
			lines = lines[2:]
		}
		fmt.Fprintln(w, strings.Join(lines, "\n"))
	})
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate()}})
	if err != nil {
		log.Fatal(err)
	}
	go func() { log.Fatal(http.Serve(listener, routes)) }()
	return int32(listener.Addr().(*net.TCPAddr).Port)
}

func certificate() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(48 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// machine runs commands where this program runs.
type machine struct{}

func (machine) ExecInContainer(ctx context.Context, _, _, _ string, words []string, in io.Reader, out, err io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize, _ time.Duration) error {
	command := exec.CommandContext(ctx, words[0], words[1:]...)
	if in != nil {
		// By hand: `Run` would wait for an input that nobody closes.
		given, failed := io.ReadAll(in)
		if failed != nil {
			return failed
		}
		command.Stdin = bytes.NewReader(given)
	}
	command.Stdout, command.Stderr = out, err
	failed := command.Run()
	if ended, ok := failed.(*exec.ExitError); ok {
		return utilexec.CodeExitError{Err: ended, Code: ended.ExitCode()}
	}
	return failed
}
