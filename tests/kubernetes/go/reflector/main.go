// Command reflector follows one resource as every controller does, with client-go, and prints what happens as
// JSON lines: the requests it makes, the events that it is sent, and each change of its cache.
//
//	reflector --kubeconfig F --resource controlplane.antrea.io/v1beta2/addressgroups [--form metadata] …
//
// KUBE_FEATURE_WatchListClient chooses between list-then-watch and a streamed list, as in any client-go program.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

var output sync.Mutex

func say(fields map[string]any) {
	output.Lock()
	defer output.Unlock()
	line, err := json.Marshal(fields)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(line))
}

func reason(err error) string {
	if found := apierrors.ReasonForError(err); found != "" {
		return string(found)
	}
	return err.Error()
}

// source is what a reflector reads from, in one of the two forms that need no Go types.
type source struct {
	list  func(context.Context, metav1.ListOptions) (runtime.Object, error)
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
	kind  runtime.Object
}

func newSource(config *rest.Config, form string, resource schema.GroupVersionResource) (source, error) {
	switch form {
	case "dynamic": // JSON
		client, err := dynamic.NewForConfig(config)
		if err != nil {
			return source{}, err
		}
		objects := client.Resource(resource)
		return source{
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return objects.List(ctx, o) },
			objects.Watch,
			&unstructured.Unstructured{},
		}, nil
	case "metadata": // protobuf, as=PartialObjectMetadata
		client, err := metadata.NewForConfig(config)
		if err != nil {
			return source{}, err
		}
		objects := client.Resource(resource)
		return source{
			func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) { return objects.List(ctx, o) },
			objects.Watch,
			&metav1.PartialObjectMetadata{},
		}, nil
	}
	return source{}, fmt.Errorf("--form %s is neither dynamic nor metadata", form)
}

func describe(options metav1.ListOptions) map[string]any {
	encoded, _ := json.Marshal(options)
	fields := map[string]any{}
	_ = json.Unmarshal(encoded, &fields)
	return fields
}

// told prints every request of a source and every event of its watches.
func (s source) told(field, label string) *cache.ListWatch {
	choose := func(options *metav1.ListOptions) {
		options.FieldSelector, options.LabelSelector = field, label
	}
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			choose(&options)
			found, err := s.list(ctx, options)
			if err != nil {
				say(map[string]any{"call": "list", "options": describe(options), "error": reason(err)})
				return nil, err
			}
			list, _ := meta.ListAccessor(found)
			say(map[string]any{
				"call": "list", "options": describe(options), "items": meta.LenList(found),
				"resourceVersion": list.GetResourceVersion(), "more": list.GetContinue() != "",
				"remaining": list.GetRemainingItemCount(),
			})
			return found, nil
		},
		WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
			choose(&options)
			events, err := s.watch(ctx, options)
			if err != nil {
				say(map[string]any{"call": "watch", "options": describe(options), "error": reason(err)})
				return nil, err
			}
			say(map[string]any{"call": "watch", "options": describe(options)})
			return watch.Filter(events, func(event watch.Event) (watch.Event, bool) {
				show(event)
				return event, true
			}), nil
		},
	}
}

func show(event watch.Event) {
	fields := map[string]any{"event": string(event.Type)}
	if event.Type == watch.Error {
		fields["reason"] = reason(apierrors.FromObject(event.Object))
	} else if object, err := meta.Accessor(event.Object); err == nil {
		fields["name"], fields["resourceVersion"] = object.GetName(), object.GetResourceVersion()
		fields["kind"] = event.Object.GetObjectKind().GroupVersionKind().Kind
		if end, ok := object.GetAnnotations()[metav1.InitialEventsAnnotationKey]; ok {
			fields["initialEventsEnd"] = end
		}
	}
	say(fields)
}

// told is a cache that prints what becomes of it.
type toldStore struct{ cache.Store }

func name(object any) string {
	key, _ := cache.MetaNamespaceKeyFunc(object)
	return key
}

func (s toldStore) Add(object any) error {
	say(map[string]any{"cache": "add", "name": name(object), "object": object})
	return s.Store.Add(object)
}

func (s toldStore) Update(object any) error {
	say(map[string]any{"cache": "update", "name": name(object), "object": object})
	return s.Store.Update(object)
}

func (s toldStore) Delete(object any) error {
	say(map[string]any{"cache": "delete", "name": name(object)})
	return s.Store.Delete(object)
}

func (s toldStore) Replace(objects []any, version string) error {
	say(map[string]any{"cache": "replace", "objects": objects, "resourceVersion": version})
	return s.Store.Replace(objects, version)
}

// once makes a single watch and prints it until it ends.
func once(ctx context.Context, from *cache.ListWatch, version string, seconds int64) error {
	options := metav1.ListOptions{ResourceVersion: version, AllowWatchBookmarks: true}
	if seconds > 0 {
		options.TimeoutSeconds = &seconds
	}
	began := time.Now()
	events, err := from.WatchWithContext(ctx, options)
	if err == nil {
		for range events.ResultChan() {
		}
	}
	say(map[string]any{"ended": true, "seconds": time.Since(began).Seconds()})
	return nil
}

func run() error {
	kubeconfig := flag.String("kubeconfig", "", "whom to ask, and as whom")
	resource := flag.String("resource", "", "GROUP/VERSION/PLURAL")
	form := flag.String("form", "dynamic", "dynamic (JSON) or metadata (protobuf)")
	field := flag.String("field", "", "a field selector")
	label := flag.String("label", "", "a label selector")
	page := flag.Int64("page", 0, "how many objects a page of a list has")
	version := flag.String("watch-from", "", "make one watch from this version instead")
	seconds := flag.Int64("timeout-seconds", 0, "how long that watch lasts")
	flag.Parse()

	parts := strings.Split(*resource, "/")
	if len(parts) != 3 {
		return errors.New("--resource is not GROUP/VERSION/PLURAL")
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	from, err := newSource(config, *form, schema.GroupVersionResource{Group: parts[0], Version: parts[1], Resource: parts[2]})
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if *version != "" {
		return once(ctx, from.told(*field, *label), *version, *seconds)
	}
	reflector := cache.NewReflectorWithOptions(
		from.told(*field, *label), from.kind, toldStore{cache.NewStore(cache.MetaNamespaceKeyFunc)}, cache.ReflectorOptions{},
	)
	reflector.WatchListPageSize = *page
	reflector.RunWithContext(ctx)
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
