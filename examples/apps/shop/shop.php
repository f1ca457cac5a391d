<?php
/* What all pages of the shop share: the goods, the session, the frame of a page. Nothing in it knows of weir: PHP's own
 * sessions, kept in "Redis" by phpredis (php-fpm.conf: session.save_handler, session.save_path). */

const GOODS = [
    'kettle' => ['Kettle', 2900, 'Boils a litre while you wait for a build.'],
    'mug'    => ['Mug', 850, 'Holds what the kettle has boiled.'],
    'lamp'   => ['Desk lamp', 4450, 'For the other half of the day.'],
    'plant'  => ['Rubber plant', 1990, 'Listens, and tells nobody.'],
    'chair'  => ['Chair', 14900, 'Four legs and a back.'],
    'radio'  => ['Radio', 5900, 'Two bands and one large knob.'],
];

session_start();
$_SESSION['cart'] ??= [];
$_SESSION['pages'] = ($_SESSION['pages'] ?? 0) + 1;
header('Cache-Control: no-store');
header("Content-Security-Policy: default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'");

function text(string $s): string
{
    return htmlspecialchars($s, ENT_QUOTES);
}

function money(int $cents): string
{
    return number_format($cents / 100, 2) . "\u{00a0}\u{20ac}";
}

/* After a POST: so that the browser's reload button does not buy twice. */
function back(): never
{
    header('Location: /index.php', true, 303);
    exit;
}

/* A page of another site cannot post for the visitor: the cookie is SameSite=Lax. */
function only_post(): void
{
    if ($_SERVER['REQUEST_METHOD'] !== 'POST') {
        http_response_code(405);
        header('Allow: POST');
        exit;
    }
}

function number_in_cart(): int
{
    return array_sum($_SESSION['cart']);
}

function total(): int
{
    $sum = 0;
    foreach ($_SESSION['cart'] as $name => $count) {
        $sum += GOODS[$name][1] * $count;
    }
    return $sum;
}

function page_begin(): void
{
    $who = $_SESSION['who'] ?? null;
    ?>
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shop</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="shop.css">
<header>
  <h1><a href="/index.php">Shop</a></h1>
<?php if ($who === null): ?>
  <form method="post" action="login.php">
    <label>Name <input name="who" required maxlength="40" autocomplete="name"></label>
    <button>Log in</button>
  </form>
<?php else: ?>
  <form method="post" action="logout.php">
    <span id="who"><?= text($who) ?></span>
    <button>Log out</button>
  </form>
<?php endif ?>
</header>
<main>
<?php
}

function page_end(): void
{
    ?>
</main>
<footer>
  Page <span id="pages"><?= $_SESSION['pages'] ?></span> of this session, served by PHP process <?= getmypid() ?>.
</footer>
</html>
<?php
}
