<?php
/* Changes the cart: add=NAME, drop=NAME (one less), empty=1. */
require 'shop.php';

only_post();
$name = $_POST['add'] ?? $_POST['drop'] ?? null;
if (isset($_POST['empty'])) {
    $_SESSION['cart'] = [];
} elseif (!is_string($name) || !isset(GOODS[$name])) {
    http_response_code(400);
    exit;
} else {
    $count = ($_SESSION['cart'][$name] ?? 0) + (isset($_POST['add']) ? 1 : -1);
    $_SESSION['cart'][$name] = $count;
    if ($count <= 0) {
        unset($_SESSION['cart'][$name]);
    }
}
back();
