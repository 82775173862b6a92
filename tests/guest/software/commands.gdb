set pagination off
set confirm off
break work
run
bt
watch total
continue
continue
delete
hbreak leaf
continue
bt
delete
stepi
stepi
rwatch total
continue
delete
call (int)printf("printed %d\n", 45)
continue
quit
