<?php
// An application that keeps its sessions in Redis, as people write them; what it does is in its query string:
//
//   do=count             one more in $_SESSION['n']; hold=S: that long between reading and writing
//   do=read              as it is; once=1: read_and_close
//   do=set&value=TEXT    $_SESSION['value']; drop=1: session_abort(), nothing is written
//   do=regenerate        session_regenerate_id(); delete=1: and the old one goes
//   do=destroy           restart=1: session_destroy(), then session_start() and n = 1 in the same request
//   do=late              as count; the whole answer goes out, with its length, and a shutdown function waits: pause=S,
//                        or gate=FILE, until that is there; then PHP writes the session. type=CONTENT-TYPE
//   ini[NAME]=VALUE      before anything else
//   handler=predis|symfony  instead of session.save_handler; at=SOCKET
//
// The answer is JSON: what the session holds, and its id.

foreach ($_GET['ini'] ?? [] as $name => $value) {
    if (ini_set($name, $value) === false) {
        http_response_code(500);
        exit("no such setting: $name");
    }
}

function use_predis(): void
{
    require 'Predis/Autoloader.php';
    Predis\Autoloader::register();
    $client = new Predis\Client(['scheme' => 'unix', 'path' => $_GET['at']], ['prefix' => 'PHPREDIS_SESSION:']);
    (new Predis\Session\Handler($client, ['gc_maxlifetime' => (int) ini_get('session.gc_maxlifetime')]))->register();
}

function use_symfony(): void
{
    require 'Symfony/Component/HttpFoundation/autoload.php';
    $redis = new Redis();
    $redis->connect($_GET['at']);
    session_set_save_handler(new Symfony\Component\HttpFoundation\Session\Storage\Handler\RedisSessionHandler(
        $redis,
        ['prefix' => 'PHPREDIS_SESSION:', 'ttl' => (int) ini_get('session.gc_maxlifetime')]
    ));
}

function report(bool $with_length = false): void
{
    $body = json_encode(['id' => session_id(), 'session' => (object) $_SESSION]) . "\n";
    header('Content-Type: ' . ($_GET['type'] ?? 'application/json'));
    if ($with_length) {
        header('Content-Length: ' . strlen($body));
    }
    echo $body;
}

function pause(): void
{
    usleep((int) ((float) ($_GET['pause'] ?? 0) * 1e6));
    for ($i = 0; isset($_GET['gate']) && !file_exists($_GET['gate']) && $i < 20000; $i++) {
        usleep(1000);
    }
}

function late(): void
{
    $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1;
    register_shutdown_function('pause');
    report(true);
    while (ob_get_level() > 0) {
        ob_end_flush();
    }
    flush();
}

if (isset($_GET['handler'])) {
    $_GET['handler'] === 'predis' ? use_predis() : use_symfony();
}
if (!session_start(isset($_GET['once']) ? ['read_and_close' => true] : [])) {
    http_response_code(500);
    exit("session_start() failed\n");
}
switch ($_GET['do'] ?? 'read') {
    case 'count':
        $n = $_SESSION['n'] ?? 0;
        usleep((int) ((float) ($_GET['hold'] ?? 0) * 1e6));
        $_SESSION['n'] = $n + 1;
        break;
    case 'set':
        $_SESSION['value'] = $_GET['value'];
        if (isset($_GET['drop'])) {
            session_abort();
        }
        break;
    case 'regenerate':
        session_regenerate_id(isset($_GET['delete']));
        break;
    case 'destroy':
        $_SESSION = [];
        if (!session_destroy()) {
            http_response_code(500);
        }
        if (isset($_GET['restart'])) {
            session_start();
            $_SESSION['n'] = 1;
        }
        break;
    case 'late':
        late();
        exit;
}
report();
