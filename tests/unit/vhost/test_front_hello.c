/* test_front_hello.c - what the vhost-user frontend makes of what a server can, and of memory. */
#include "backend.h"
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <unistd.h>
#include "base/le.h"
#include "base/log.h"
#include "base/num.h"

#define PROTO BIT(VHOST_USER_F_PROTOCOL_FEATURES)
#define V1    BIT(VIRTIO_F_VERSION_1)
#define RESET BIT(VIRTIO_F_RING_RESET)

/* --- introductions --- */

static void says_what_the_server_can(void **state)
{
	struct backend *b = *state;
	uint8_t config[BACKEND_BYTES];
	b->cfg.hidden = BIT(3);
	backend_plug(b);
	uint64_t f = vdev_offered(b->d);
	assert_int_equal(f & BIT(3), 0);
	assert_int_equal(f & (BIT(16) | BIT(17)), 0); /* would need more configuration */
	assert_int_equal(f & (PROTO | BIT(24) | BIT(26) | BIT(27) | BIT(33) | BIT(38)), 0);
	assert_int_equal(f & (V1 | RESET | BIT(0) | BIT(28) | BIT(29)),
			 V1 | RESET | BIT(0) | BIT(28) | BIT(29));
	assert_int_equal(b->d->nr_queues, BACKEND_QUEUES);
	assert_int_equal(b->d->config_bytes, BACKEND_BYTES);
	vdev_config_read(b->d, 0, config, sizeof(config));
	assert_int_equal(le_load(config + 34, 2), BACKEND_QUEUES);
	config[34] = 35;
	config[35] = 36;
	assert_memory_equal(config, b->config, sizeof(config));
	backend_until(b, VHOST_USER_SET_OWNER, 1);
	assert_int_equal(b->got_protocol, PROTOCOL(MQ) | PROTOCOL(REPLY_ACK) |
						  PROTOCOL(BACKEND_REQ) | PROTOCOL(CONFIG) |
						  PROTOCOL(INFLIGHT_SHMFD) |
						  PROTOCOL(RESET_DEVICE) | PROTOCOL(STATUS));
}

static void packed_rings_want_an_account(void **state)
{
	struct backend *b = *state;
	b->features |= BIT(VIRTIO_F_RING_PACKED);
	b->protocol &= ~PROTOCOL(INFLIGHT_SHMFD);
	backend_plug(b);
	assert_int_equal(vdev_offered(b->d) & BIT(VIRTIO_F_RING_PACKED), 0);
}

/* Nothing but features: one queue, no configuration, rings that start by themselves. */
static void needs_little(void **state)
{
	struct backend *b = *state;
	b->features = V1;
	b->cfg.id = VIRTIO_ID_RNG;
	backend_plug(b);
	assert_int_equal(b->d->nr_queues, 1);
	assert_int_equal(b->d->config_bytes, 0);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_KICK, 1);
	assert_int_equal(b->got_features, V1);
	backend_works(b);
	drive_reset(&b->v);
	assert_int_equal(b->counts[VHOST_USER_SET_VRING_ENABLE], 0);
	assert_int_equal(b->counts[VHOST_USER_RESET_DEVICE], 0);
	assert_int_equal(b->counts[VHOST_USER_SET_STATUS], 0);
	drive_up(&b->v, ~0ull);
	backend_works(b);
}

static void takes_the_owner_at_its_word(void **state)
{
	struct backend *b = *state;
	const uint8_t config[12] = { 2, 0, 0, 0, 0, 1 };
	uint8_t got[12];
	b->cfg.id = VIRTIO_ID_NET;
	b->cfg.nr_queues = 2;
	b->cfg.own = BIT(VIRTIO_NET_F_MAC);
	b->cfg.config = config;
	b->cfg.config_bytes = sizeof(config);
	b->features &= ~BIT(VIRTIO_NET_F_MAC);
	b->nr_queues = 1; /* pairs */
	backend_plug(b);
	assert_int_equal(vdev_offered(b->d) & (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_CTRL_VQ) |
					       BIT(VIRTIO_NET_F_MQ)),
			 BIT(VIRTIO_NET_F_MAC));
	vdev_config_read(b->d, 0, got, sizeof(got));
	assert_memory_equal(got, config, sizeof(got));
	vdev_config_write(b->d, 0, "x", 1);
	vdev_config_read(b->d, 0, got, sizeof(got));
	assert_memory_equal(got, config, sizeof(got));
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_VRING_ENABLE, 2);
	assert_int_equal(b->got_features & BIT(VIRTIO_NET_F_MAC), 0);
	assert_int_equal(b->counts[VHOST_USER_GET_CONFIG], 0);
	assert_int_equal(b->counts[VHOST_USER_SET_CONFIG], 0);
}

static void a_card_without_configuration_has_no_features_of_it(void **state)
{
	struct backend *b = *state;
	b->cfg.id = VIRTIO_ID_NET;
	b->cfg.nr_queues = 2;
	b->protocol &= ~PROTOCOL(CONFIG);
	backend_plug(b);
	assert_int_equal(b->d->config_bytes, 0);
	assert_int_equal(vdev_offered(b->d) & (BIT(VIRTIO_NET_F_MAC) | BIT(VIRTIO_NET_F_STATUS) |
					       BIT(VIRTIO_NET_F_MTU)),
			 0);
}

static void says_why_it_cannot_be(void **state)
{
	struct backend *b = *state;
	struct vdev *d = NULL;
	b->protocol &= ~PROTOCOL(CONFIG);
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -ENODATA);
	b->protocol = ~0ull;
	b->cfg.nr_queues = BACKEND_QUEUES + 1;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EPROTO);
	b->cfg.nr_queues = 0;
	b->cfg.queue_size = 63;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EINVAL);
	b->cfg.queue_size = 64;
	b->features = PROTO;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EPROTO);
	b->refuse = -EAGAIN;
	assert_int_equal(vhost_front_create(&d, b->v.mem, &b->cfg), -EAGAIN);
	assert_null(d);
}

/* --- memory in parts --- */

/* The guest's memory again, in @nr parts, @step bytes from the start of one to that of the next. */
static int memory_in_parts(struct backend *b, struct gmem **out, unsigned nr, uint64_t step)
{
	const struct gmem_region *whole = gmem_region_at(b->v.mem, 0);
	struct gmem_region r[16];
	int fd = dup(whole->fd);
	for (unsigned i = 0; i < nr; i++)
		r[i] = (struct gmem_region){ i * step, MIB, fd, i * step };
	return gmem_create_from(out, r, nr);
}

static void parts_beside_each_other_are_one(void **state)
{
	struct backend *b = *state;
	struct gmem *mem, *guest = b->v.mem;
	assert_int_equal(memory_in_parts(b, &mem, DRIVE_RAM_BYTES / MIB, MIB), 0);
	b->v.mem = mem;
	backend_plug(b);
	drive_up(&b->v, ~0ull);
	backend_until(b, VHOST_USER_SET_MEM_TABLE, 1);
	assert_int_equal(gmem_nr_regions(mem), 12);
	assert_int_equal(b->mem.nr, 1);
	assert_int_equal(b->mem.r[0].len, DRIVE_RAM_BYTES);
	drive_reset(&b->v);
	drive_unplug(&b->v);
	b->v.mem = guest;
	gmem_destroy(mem);
}

static void more_parts_than_can_be_told_are_refused(void **state)
{
	struct backend *b = *state;
	struct gmem *mem;
	struct vdev *d = NULL;
	assert_int_equal(memory_in_parts(b, &mem, VHOST_FRONT_REGIONS + 1, 5 * MIB / 4), 0);
	assert_int_equal(vhost_front_create(&d, mem, &b->cfg), -E2BIG);
	assert_int_equal(b->tries, 0); /* nobody was asked */
	gmem_destroy(mem);
}

#define T(f) cmocka_unit_test_setup_teardown(f, backend_setup, backend_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(says_what_the_server_can),
		T(packed_rings_want_an_account),
		T(needs_little),
		T(takes_the_owner_at_its_word),
		T(a_card_without_configuration_has_no_features_of_it),
		T(says_why_it_cannot_be),
		T(parts_beside_each_other_are_one),
		T(more_parts_than_can_be_told_are_refused),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
