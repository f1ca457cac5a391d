<?php
/* Any name will do: what a shop would ask for is not the point here. */
require 'shop.php';

only_post();
$who = $_POST['who'] ?? '';
if (!is_string($who) || trim($who) === '' || strlen($who) > 160) {
    http_response_code(400);
    exit;
}
session_regenerate_id(true); // who knew the id before the log-in must not be logged in with it
$_SESSION['who'] = trim($who);
back();
