create table daily_totals (day date primary key, orders bigint not null, amount numeric(18, 2) not null);
create table batch_totals (day date primary key, orders bigint not null, amount numeric(18, 2) not null);
