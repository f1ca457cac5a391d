<?php
/* One read and one write of a session, and a body of 1 KiB: the page of bench/adopted.py. bench/load checks the count. */

session_start();
$_SESSION['visits'] = ($_SESSION['visits'] ?? 0) + 1;
$_SESSION['state'] ??= str_repeat('s', 900);
header('X-Visits: ' . $_SESSION['visits']);
header('Content-Type: text/plain');
header('Content-Length: 1024');
echo str_repeat('b', 1024);
