/* test_metrics.c - what `vmm metrics` prints of what VMs say of themselves. */
#include "spoken.h"
#include <pthread.h>
#include <semaphore.h>
#include <sys/prctl.h>

static char a_status[4096];

#define QUEUES                                                                                     \
	"[{\"size\":256,\"enabled\":true,\"requests\":7,\"kicks\":3,\"interrupts\":2,"             \
	"\"faults\":1},{\"size\":256,\"enabled\":false,\"requests\":9007199254740991,\"kicks\":0," \
	"\"interrupts\":0,\"faults\":0}]"

/* Of a VM that is this process; @disk_process: of its disk's device. */
static void make_status(const char *disk_process)
{
	(void)snprintf(a_status, sizeof(a_status),
		       "{\"state\":\"suspended\",\"uptime_ms\":1500,\"process\":%d,\"version\":"
		       "\"1.2\",\"vcpus\":2,\"memory_bytes\":1073741824,\"exits\":[{\"pio\":1,"
		       "\"mmio\":2,\"signal\":3,\"other\":4},{\"pio\":5,\"mmio\":6,\"signal\":7,"
		       "\"other\":8}],\"devices\":[{\"name\":\"block0\",\"kind\":\"block\","
		       "\"pci\":\"00:03.0\",\"process\":%s,\"version\":\"1.2\",\"restarts\":4,"
		       "\"longest_pause_us\":2500,\"needs_reset\":true,\"queues\":" QUEUES
		       ",\"disk\":{\"bytes\":8388608}},{\"name\":\"vhost0\",\"kind\":\"vhost-user\""
		       ",\"pci\":\"00:04.0\",\"process\":null,\"version\":null,\"restarts\":0,"
		       "\"longest_pause_us\":0,\"needs_reset\":false,\"queues\":[{\"size\":64,"
		       "\"enabled\":true}]}]}",
		       getpid(), disk_process);
	replying = a_status;
}

static void expect(const char *line)
{
	char whole[256];
	(void)snprintf(whole, sizeof(whole), "\n%s\n", line);
	if (!strstr(ran.out, whole))
		fail_msg("no line %s in %s", line, ran.out);
}

static void everything_has_its_line(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"vmm_info{vm=\"a\",version=\"1.2\"} 1",
		"vmm_state{vm=\"a\",state=\"running\"} 0",
		"vmm_state{vm=\"a\",state=\"suspended\"} 1",
		"vmm_uptime_seconds{vm=\"a\"} 1.500000000",
		"vmm_memory_bytes{vm=\"a\"} 1073741824",
		"vmm_vcpu_exits_total{vm=\"a\",vcpu=\"0\",kind=\"pio\"} 1",
		"vmm_vcpu_exits_total{vm=\"a\",vcpu=\"1\",kind=\"signal\"} 7",
		"vmm_vcpu_exits_total{vm=\"a\",vcpu=\"1\",kind=\"other\"} 8",
		"vmm_device_info{vm=\"a\",device=\"block0\",kind=\"block\",pci=\"00:03.0\","
		"version=\"1.2\"} 1",
		"vmm_device_info{vm=\"a\",device=\"vhost0\",kind=\"vhost-user\",pci=\"00:04.0\","
		"version=\"-\"} 1",
		"vmm_device_restarts_total{vm=\"a\",device=\"block0\"} 4",
		"vmm_device_longest_pause_seconds{vm=\"a\",device=\"block0\"} 0.002500000",
		"vmm_device_needs_reset{vm=\"a\",device=\"block0\"} 1",
		"vmm_device_needs_reset{vm=\"a\",device=\"vhost0\"} 0",
		"vmm_disk_bytes{vm=\"a\",device=\"block0\"} 8388608",
		"vmm_queue_requests_total{vm=\"a\",device=\"block0\",queue=\"0\"} 7",
		"vmm_queue_requests_total{vm=\"a\",device=\"block0\",queue=\"1\"} "
		"9007199254740991",
		"vmm_queue_kicks_total{vm=\"a\",device=\"block0\",queue=\"0\"} 3",
		"vmm_queue_interrupts_total{vm=\"a\",device=\"block0\",queue=\"0\"} 2",
		"vmm_queue_faults_total{vm=\"a\",device=\"block0\",queue=\"0\"} 1",
	};
	make_status("null");
	run(cmd_metrics, "metrics a");
	assert_int_equal(ran.status, VM_EXIT_OK);
	assert_string_equal(asked, "a {\"do\":\"status\"}\n");
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		expect(lines[i]);
	/* nobody knows what a foreign server does */
	assert_null(strstr(ran.out, "vmm_queue_requests_total{vm=\"a\",device=\"vhost0\""));
	assert_null(strstr(ran.out, "vmm_disk_bytes{vm=\"a\",device=\"vhost0\""));
}

/* As the format wants it: a metric's samples stand together, behind one HELP and one TYPE. */
static void a_metric_is_in_one_piece(void **state)
{
	(void)state;
	char last[64] = "";
	unsigned helps = 0, samples = 0;
	make_status("null");
	run(cmd_metrics, "metrics a b");
	assert_int_equal(ran.status, VM_EXIT_OK);
	for (char *rest = ran.out, *line; (line = strsep(&rest, "\n")) && *line;) {
		char name[64], type[16];
		if (sscanf(line, "# HELP %63s", name) == 1) {
			for (char *s = last; *s; s++)
				assert_true(strcmp(name, last) != 0);
			(void)snprintf(last, sizeof(last), "%s", name);
			helps++;
		} else if (sscanf(line, "# TYPE %63s %15s", name, type) == 2) {
			assert_string_equal(name, last);
			bool is_total = strlen(name) > 6 &&
					!strcmp(name + strlen(name) - 6, "_total");
			assert_string_equal(type, is_total ? "counter" : "gauge");
		} else {
			size_t len = strcspn(line, "{");
			assert_int_equal(len, strlen(last));
			assert_memory_equal(line, last, len);
			assert_non_null(strstr(line, "{vm=\""));
			assert_non_null(strstr(line, "\"} "));
			samples++;
		}
	}
	assert_true(helps >= 16);
	assert_int_equal(samples % 2, 0); /* as many of each VM */
}

/* --- threads --- */

struct worker {
	const char *name;
	sem_t is_named, end;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	assert_int_equal(prctl(PR_SET_NAME, w->name), 0);
	assert_int_equal(sem_post(&w->is_named), 0);
	while (sem_wait(&w->end))
		;
	return NULL;
}

static double value_of(const char *sample)
{
	const char *at = strstr(ran.out, sample);
	return at ? strtod(at + strlen(sample), NULL) : -1;
}

static void cpu_time_is_that_of_the_threads(void **state)
{
	(void)state;
	struct worker w[] = { { .name = "vcpu1" }, { .name = "block0-q1" }, { .name = "vcpu11" } };
	pthread_t t[3];
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sem_init(&w[i].is_named, 0, 0) | sem_init(&w[i].end, 0, 0), 0);
		assert_int_equal(pthread_create(&t[i], NULL, worker_main, &w[i]), 0);
		while (sem_wait(&w[i].is_named))
			;
	}
	make_status("null");
	run(cmd_metrics, "metrics a");
	double vcpu = value_of("\nvmm_vcpu_cpu_seconds_total{vm=\"a\",vcpu=\"1\"} ");
	double worker = value_of("\nvmm_device_cpu_seconds_total{vm=\"a\",device=\"block0\"} ");
	assert_true(vcpu > 0 && worker > 0);
	assert_null(strstr(ran.out, "vmm_vcpu_cpu_seconds_total{vm=\"a\",vcpu=\"0\"}"));
	assert_null(strstr(ran.out, "vmm_device_cpu_seconds_total{vm=\"a\",device=\"vhost0\"}"));
	char self[16];
	(void)snprintf(self, sizeof(self), "%d", getpid());
	make_status(self); /* a process of its own: all that is in it */
	run(cmd_metrics, "metrics a");
	double all = value_of("\nvmm_device_cpu_seconds_total{vm=\"a\",device=\"block0\"} ");
	assert_true(all > vcpu + worker);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(sem_post(&w[i].end), 0);
		pthread_join(t[i], NULL);
	}
	make_status("4194305"); /* more than a process can have */
	run(cmd_metrics, "metrics a");
	assert_int_equal(ran.status, VM_EXIT_OK);
	assert_null(strstr(ran.out, "vmm_device_cpu_seconds_total{"));
}

static void the_name_of_a_vm_is_quoted(void **state)
{
	(void)state;
	make_status("null");
	run(cmd_metrics, "metrics a\"b\\c\nd");
	expect("vmm_memory_bytes{vm=\"a\\\"b\\\\c\\nd\"} 1073741824");
}

static void the_same_for_programs(void **state)
{
	(void)state;
	size_t i, nr = 0;
	json_t *o;
	make_status("null");
	run(cmd_metrics, "metrics --json a b");
	assert_int_equal(ran.status, VM_EXIT_OK);
	json_t *all = json_loads(ran.out, 0, NULL);
	json_array_foreach(all, i, o)
	{
		const json_t *labels = json_object_get(o, "labels"),
			     *v = json_object_get(o, "value");
		const char *name = json_string_value(json_object_get(o, "name"));
		const char *vm = json_string_value(json_object_get(labels, "vm"));
		assert_non_null(name);
		assert_non_null(vm);
		if (!strcmp(name, "vmm_queue_requests_total") && !strcmp(vm, "b")) {
			const char *q = json_string_value(json_object_get(labels, "queue"));
			assert_int_equal(json_integer_value(v),
					 strcmp(q, "1") != 0 ? 7 : 9007199254740991);
			nr++;
		}
		if (!strcmp(name, "vmm_uptime_seconds"))
			assert_true(json_real_value(v) == 1.5);
	}
	assert_int_equal(nr, 2);
	json_decref(all);
}

static void who_does_not_answer_is_left_out(void **state)
{
	(void)state;
	make_status("null");
	mute = "b";
	run(cmd_metrics, "metrics a b c");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	expect("vmm_memory_bytes{vm=\"a\"} 1073741824");
	expect("vmm_memory_bytes{vm=\"c\"} 1073741824");
	assert_null(strstr(ran.out, "vm=\"b\""));
	run(cmd_metrics, "metrics b");
	assert_int_equal(ran.status, VM_EXIT_HOST);
	assert_string_equal(ran.out, "");
}

/* However early memory ends: what is said to be whole is, and none is lost. */
static void without_memory_it_fails(void **state)
{
	(void)state;
	make_status("null");
	for (unsigned n = 0, failed = 1; failed; n += 7) {
		unsigned before = json_memory_out;
		json_memory_left = 10 + n; /* the request needs some */
		run(cmd_metrics, "metrics --json a");
		json_memory_left = UINT_MAX;
		failed = ran.status != VM_EXIT_OK;
		assert_int_equal(json_memory_out, before);
		assert_int_equal(said_lines(&ran.err), failed);
		json_t *all = json_loads(ran.out, 0, NULL);
		assert_true(failed || json_is_array(all));
		json_decref(all);
	}
}

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	static const struct refusal rows[] = {
		{ "metrics", "SOCKET: is missing" },
		{ "metrics --json", "SOCKET: is missing" },
		{ "metrics --yaml a", "--yaml: unknown option" },
		{ "metrics -x a", "-x: unknown option" },
	};
	expect_refused(cmd_metrics, rows, sizeof(rows) / sizeof(rows[0]));
}

static void a_reply_that_lacks_everything_does_no_harm(void **state)
{
	(void)state;
	static const char *const odd[] = {
		"{}", "[]", "{\"devices\":[1,{},{\"queues\":[1,{}],\"disk\":7}],\"exits\":[[],3]}",
		"{\"devices\":7,\"vcpus\":1,\"exits\":\"\"}"
	};
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		replying = odd[i];
		run(cmd_metrics, i % 2 ? "metrics --json a" : "metrics a");
		assert_int_equal(ran.status, VM_EXIT_OK);
	}
}

#define T(fn) cmocka_unit_test_setup(fn, setup)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(everything_has_its_line),
		T(a_metric_is_in_one_piece),
		T(cpu_time_is_that_of_the_threads),
		T(the_name_of_a_vm_is_quoted),
		T(the_same_for_programs),
		T(who_does_not_answer_is_left_out),
		T(without_memory_it_fails),
		T(what_makes_no_sense_is_refused),
		T(a_reply_that_lacks_everything_does_no_harm),
	};
	json_memory_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
