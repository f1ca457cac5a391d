<?php
/* The goods, and the cart beside them. */
require 'shop.php';

page_begin();
?>
<section class="goods" aria-label="Goods">
<?php foreach (GOODS as $name => [$title, $price, $about]): ?>
  <article>
    <h2><?= text($title) ?></h2>
    <p><?= text($about) ?></p>
    <form method="post" action="cart.php">
      <span class="price"><?= money($price) ?></span>
      <button name="add" value="<?= text($name) ?>" aria-label="Add <?= text($title) ?>">Add</button>
    </form>
  </article>
<?php endforeach ?>
</section>
<section class="cart" aria-label="Cart">
  <h2>Cart</h2>
<?php if (!$_SESSION['cart']): ?>
  <p id="empty">Nothing yet.</p>
<?php else: ?>
  <form method="post" action="cart.php">
    <table>
<?php foreach ($_SESSION['cart'] as $name => $count): ?>
      <tr>
        <td><?= $count ?> &times; <?= text(GOODS[$name][0]) ?></td>
        <td class="price"><?= money(GOODS[$name][1] * $count) ?></td>
        <td><button name="drop" value="<?= text($name) ?>" aria-label="One <?= text(GOODS[$name][0]) ?> less">&minus;</button></td>
      </tr>
<?php endforeach ?>
      <tr class="total">
        <td id="number"><?= number_in_cart() ?> in all</td>
        <td class="price" id="total"><?= money(total()) ?></td>
        <td></td>
      </tr>
    </table>
    <button name="empty" value="1">Empty the cart</button>
  </form>
<?php endif ?>
</section>
<?php
page_end();
