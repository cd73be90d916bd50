import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Semaphore;
import java.util.concurrent.atomic.AtomicLong;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;

/** Feeds lines of a file, over and over, to the Kinesis Producer Library: FILE RECORDS AGGREGATION. Prints CPU time a record. */
public class Feed {
    private static final int UNACKNOWLEDGED_MAX = 50_000;

    public static void main(String[] args) throws Exception {
        List<byte[]> lines = Files.readAllLines(Path.of(args[0])).stream().map(String::getBytes).toList();
        long records = Long.parseLong(args[1]);
        KinesisProducer producer = new KinesisProducer(new KinesisProducerConfiguration()
            .setRegion("us-east-1")
            .setKinesisEndpoint("localhost").setKinesisPort(4568)
            .setStsEndpoint("localhost").setStsPort(4570)
            .setVerifyCertificate(false)
            .setMetricsLevel("none")
            .setLogLevel("warning")
            .setAggregationEnabled(Boolean.parseBoolean(args[2]))
            .setRateLimit(1_000_000)
            .setCredentialsProvider(StaticCredentialsProvider.create(AwsBasicCredentials.create("AKIDEXAMPLE", "none"))));
        Thread.sleep(3000);
        Semaphore room = new Semaphore(UNACKNOWLEDGED_MAX);
        AtomicLong delivered = new AtomicLong();
        Random keys = new Random(1);
        long began = System.nanoTime();
        for (long n = 0; n < records; n++) {
            room.acquire();
            byte[] line = lines.get((int) (n % lines.size()));
            var result = producer.addUserRecord("bench", Long.toHexString(keys.nextLong()), ByteBuffer.wrap(line));
            result.addListener(() -> {
                try {
                    if (result.get().isSuccessful()) {
                        delivered.incrementAndGet();
                    }
                } catch (Exception failed) {
                    System.err.println(failed);
                }
                room.release();
            }, Runnable::run);
        }
        room.acquire(UNACKNOWLEDGED_MAX);
        double seconds = (System.nanoTime() - began) / 1e9;
        long library = ProcessHandle.current().descendants().mapToLong(child -> ticks(child.pid())).sum();
        long java = ticks(ProcessHandle.current().pid());
        System.out.printf(
            "kpl aggregation=%s: %d of %d delivered, %.0f/s, native %.0f + java %.0f ns/event%n",
            args[2], delivered.get(), records, records / seconds, library * 1e7 / records, java * 1e7 / records);
        System.exit(0);
    }

    /** CPU time of a process since it began, in hundredths of a second. */
    private static long ticks(long process) {
        try {
            String stat = Files.readString(Path.of("/proc/" + process + "/stat"));
            String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
            return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
        } catch (java.io.IOException gone) {
            return 0;
        }
    }
}
