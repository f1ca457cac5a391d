<?php
// The PHP twin of echo.c: does what its query string says (the list of actions is there).

function report(): string
{
    $context = hash_init('crc32b');
    $length = 0;
    $in = fopen('php://input', 'rb');
    while (($chunk = fread($in, 65536)) !== false && $chunk !== '') {
        hash_update($context, $chunk);
        $length += strlen($chunk);
    }
    // Bytes as Latin-1, so that the reader gets every byte back.
    $env = [];
    foreach ($_SERVER as $name => $value) {
        if (is_string($value)) {
            $env[$name] = iconv('ISO-8859-1', 'UTF-8', $value);
        }
    }
    return json_encode([
        'app' => 'php', 'pid' => getmypid(), 'length' => $length,
        'crc32' => hexdec(hash_final($context)), 'env' => $env,
    ]) . "\n";
}

function pattern(int $bytes, int $step, float $pause): void
{
    for ($at = 0; $at < $bytes; $at += $n) {
        $n = min($step, $bytes - $at);
        $chunk = '';
        for ($i = $at; $i < $at + $n; $i++) {
            $chunk .= chr(($i * 7 + intdiv($i, 256)) & 255);
        }
        echo $chunk;
        flush();
        if ($pause > 0) {
            usleep((int) ($pause * 1e6));
        }
    }
}

while (ob_get_level() > 0) {
    ob_end_flush();
}
if (isset($_GET['stderr'])) {
    file_put_contents('php://stderr', $_GET['stderr'] . "\n");
    error_log($_GET['stderr']);
}
if (isset($_GET['sleep'])) {
    usleep((int) ((float) $_GET['sleep'] * 1e6));
}
if (isset($_GET['crash'])) {
    if ($_GET['crash'] === 'after') {
        echo 'half an ans';
        flush();
    }
    posix_kill(getmypid(), 9);
}
if (isset($_GET['location'])) {
    header('Location: ' . $_GET['location']);
}
if (isset($_GET['status'])) {
    http_response_code((int) $_GET['status']);
}
for ($i = 0; $i < (int) ($_GET['cookies'] ?? 0); $i++) {
    header("Set-Cookie: app$i=v$i", false);
}
if (isset($_GET['header'])) {
    header($_GET['header'], false);
}
if (isset($_GET['set'])) {
    header('Weir-Session-Data: ' . $_GET['set']);
}
if (isset($_GET['incr'])) {
    header('Weir-Session-Data: ' . ((int) ($_SERVER['SESSION_DATA'] ?? 0) + 1));
}
foreach (['ttl' => 'TTL', 'renew' => 'Renew', 'end' => 'End'] as $key => $name) {
    if (isset($_GET[$key])) {
        header("Weir-Session-$name: " . $_GET[$key]);
    }
}
if (isset($_GET['nobody'])) {
    header('Content-Type: text/plain');
} elseif (isset($_GET['echo'])) {
    header('Content-Type: ' . (($_SERVER['CONTENT_TYPE'] ?? '') ?: 'application/octet-stream'));
    $in = fopen('php://input', 'rb');
    while (($chunk = fread($in, 65536)) !== false && $chunk !== '') {
        echo $chunk;
    }
} elseif (isset($_GET['bytes'])) {
    header('Content-Type: application/octet-stream');
    pattern((int) $_GET['bytes'], (int) ($_GET['chunk'] ?? 65536) ?: 65536, (float) ($_GET['pause'] ?? 0));
} else {
    header('Content-Type: application/json');
    echo report();
}
