<?php
/* The session ends, with its cart. */
require 'shop.php';

only_post();
session_destroy();
$c = session_get_cookie_params();
setcookie(session_name(), '', ['expires' => 1, 'path' => $c['path'], 'httponly' => true, 'samesite' => $c['samesite']]);
back();
