import java.io.BufferedOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

import org.apache.kafka.clients.producer.ProducerInterceptor;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.clients.producer.internals.ProducerInterceptors;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.Headers;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.metrics.Metrics;

/**
 * What Kafka's own chain of interceptors does. A line of the file that is the
 * argument is one case: what each interceptor does in onSend and in
 * onAcknowledgement, the record's partition (or -), and the partition that the
 * record was acknowledged in (or - for a send that failed). A line of output is
 * what the interceptors saw.
 */
public class Chain {
    static StringBuilder trace;

    static class Link implements ProducerInterceptor<String, String> {
        final int number;
        final String send, ack;

        Link(int number, String send, String ack) {
            this.number = number;
            this.send = send;
            this.ack = ack;
        }

        public ProducerRecord<String, String> onSend(ProducerRecord<String, String> r) {
            trace.append("send ").append(number).append(' ').append(text(r)).append(';');
            for (char op : send.toCharArray()) {
                RecordHeaders h = new RecordHeaders(r.headers());
                switch (op) {
                    case 'v' -> r = new ProducerRecord<>(r.topic(), r.partition(), r.timestamp(), r.key(), r.value() + number, h);
                    case 'k' -> r = new ProducerRecord<>(r.topic(), r.partition(), r.timestamp(), r.key() + number, r.value(), h);
                    case 't' -> r = new ProducerRecord<>(r.topic() + number, r.partition(), r.timestamp(), r.key(), r.value(), h);
                    case 'p' -> r = new ProducerRecord<>(r.topic(), number, r.timestamp(), r.key(), r.value(), h);
                    case 'h' -> {
                        h.add("h" + number, r.value().getBytes(StandardCharsets.UTF_8));
                        r = new ProducerRecord<>(r.topic(), r.partition(), r.timestamp(), r.key(), r.value(), h);
                    }
                    case 'x' -> throw new IllegalStateException("on send");
                    default -> { }
                }
            }
            return r;
        }

        public void onAcknowledgement(RecordMetadata m, Exception e, Headers headers) {
            trace.append("ack ").append(number).append(' ').append(m.topic()).append(' ').append(m.partition()).append(' ').append(m.offset())
                .append(' ').append(m.timestamp()).append(' ').append(e == null ? "ok" : "failed").append(text(headers)).append(';');
            if (ack.equals("x")) {
                throw new IllegalStateException("on acknowledgement");
            }
        }

        public void close() { }

        public void configure(Map<String, ?> configs) { }
    }

    static String text(ProducerRecord<String, String> r) {
        return r.topic() + ' ' + (r.partition() == null ? "-" : r.partition()) + ' ' + r.key() + ' ' + r.value() + text(r.headers());
    }

    static String text(Headers headers) {
        StringBuilder b = new StringBuilder();
        for (Header h : headers) {
            b.append(' ').append(h.key()).append('=').append(new String(h.value(), StandardCharsets.UTF_8));
        }
        return b.toString();
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(new BufferedOutputStream(System.out, 1 << 16), false, StandardCharsets.UTF_8);
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            trace = new StringBuilder();
            String[] fields = line.split(" ");
            String[] sends = fields[0].split("/"), acks = fields[1].split("/");
            List<ProducerInterceptor<String, String>> links = new ArrayList<>();
            for (int i = 0; i < sends.length; i++) {
                links.add(new Link(i, sends[i], acks[i]));
            }
            Integer partition = fields[2].equals("-") ? null : Integer.valueOf(fields[2]);
            try (Metrics metrics = new Metrics(); ProducerInterceptors<String, String> chain = new ProducerInterceptors<>(links, metrics)) {
                ProducerRecord<String, String> r = chain.onSend(new ProducerRecord<>("orders", partition, 1000L, "k", "v"));
                trace.append("sent ").append(text(r)).append(';');
                if (fields[3].equals("-")) {
                    chain.onSendError(r, null, new KafkaException("no"));
                } else {
                    TopicPartition tp = new TopicPartition(r.topic(), Integer.parseInt(fields[3]));
                    chain.onAcknowledgement(new RecordMetadata(tp, 7, 0, 1000L, 1, 1), null, r.headers());
                }
            }
            out.println(trace);
        }
        out.flush();
    }
}
