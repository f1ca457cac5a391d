<?php
/* The visit counter for PHP-FPM, in a managed session of weir: no session_start(), no session files, no Redis.
 * The state is text; http_build_query() and parse_str() turn an array into text and back. */

parse_str($_SERVER['SESSION_DATA'] ?? '', $session);
$session['visits'] = (int) ($session['visits'] ?? 0) + 1;

if (isset($_GET['end'])) {
    header('Weir-Session-End: 1');
    header('Location: ' . strtok('/' . ltrim($_SERVER['REQUEST_URI'], '/\\'), '?'), true, 303);
    exit;
}

header('Weir-Session-Data: ' . http_build_query($session));
header('Cache-Control: no-store');
?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Counter (PHP)</title>
<link rel="icon" href="data:,">
<h1>Visit <?= $session['visits'] ?></h1>
<p>The session came as <code><?= htmlspecialchars($_SERVER['SESSION_STATE'] ?? 'nothing: is weir in front?') ?></code>.</p>
<p><a href="?">Again</a> <a href="?end=1">End the session</a></p>
</html>
