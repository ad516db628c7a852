/* Protocols that were not taken: an idle connection goes from one worker to another by way of the
   primary, which decides when it has changed hands. Kept so that the reasons can be checked.

   The sender stops reading, tests whether the connection is idle, and offers a duplicate of its
   descriptor to the primary, which gives one to the receiver. The receiver says that it has it.
   Then the primary commits: it tells the sender to let go, and the receiver to read. If the receiver
   dies before that, the sender is told to read on.

   Between the commit and the first read the receiver may die, and then nobody reads, although nothing
   was lost that could not have been served: so the primary needs to know whether it has begun.

   -DWORD       the receiver stores a word in shared memory before it reads. The primary keeps its
                duplicate until then, and serves the connection itself if the receiver dies before
   -DBYSTANDER  the same, but the primary never serves, as ours: what nobody takes, it closes
   -DKILL_RECEIVER, -DKILL_PRIMARY   may happen at any step

   What must hold is what must hold in handover.pml: one reader at a time, an answer to each request,
   and the connection stays open unless who has it is killed. The primary is a third one here: its
   death excuses nothing.

   spin -a -DKILL_RECEIVER commit_by_primary.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan */

#ifdef BYSTANDER
#define WORD
#endif
#define REQUESTS 2

mtype = { OFFER, GIVE, HAVE, READ, LET_GO, KEEP };
chan from_sender = [1] of { mtype };
chan to_sender = [2] of { mtype };
chan from_receiver = [1] of { mtype };
chan to_receiver = [2] of { mtype };

byte halves;                 /* of requests, in the kernel's buffer; two make one */
byte asked, answered;        /* whole requests */
bool is_waiting;             /* the client, for an answer */
byte holders = 1;            /* descriptors, those in flight included */
byte readers = 1;
byte half_sender, half_other;

bool receiver_lives = true, receiver_holds, in_flight;
bool primary_lives = true, primary_holds;
bool is_taken;               /* the word; without one, only the truth */
bool is_excused;             /* a kill has cut what nobody could save */
bool is_done;

#define OPEN (holders > 0)

inline read_half(own) {
  halves--; own++;
  if
  :: own == 2 -> own = 0; answered++
  :: else
  fi
}

inline begin_to_read() { readers++; assert(readers == 1) }

active proctype Client() {
  byte sent = 0;
  do
  :: atomic { !is_waiting && asked < REQUESTS && OPEN ->
       halves++; sent++;
       if
       :: sent % 2 == 0 -> asked++; is_waiting = true
       :: else
       fi }
  :: atomic { is_waiting && answered >= asked -> assert(answered == asked); is_waiting = false }
  :: atomic { !OPEN && (is_waiting || asked < REQUESTS) -> assert(is_excused); break }
  :: asked == REQUESTS && !is_waiting -> break
  od;
  is_done = true
}

active proctype Sender() {
serve:
  do
  :: atomic { halves > 0 -> read_half(half_sender) }
  :: atomic { half_sender == 0 -> readers-- }; break      /* it is to leave, and stops reading */
  :: is_done -> goto end
  od;
  atomic {
    if
    :: !primary_lives -> begin_to_read(); goto serve
    :: primary_lives -> from_sender!OFFER; holders++; primary_holds = true
    fi };
  if
  :: atomic { to_sender?[LET_GO] -> to_sender?LET_GO; holders-- }
  :: atomic { to_sender?[KEEP] -> to_sender?KEEP; begin_to_read() }; goto serve
  /* Whether the receiver was told to read is not known any more: to read on might make two. */
  :: atomic { !primary_lives && empty(to_sender) -> holders-- }
  :: is_done
  fi;
end:
  skip
}

active proctype Primary() {
begin:
  if
  :: atomic { primary_lives && from_sender?[OFFER] -> from_sender?OFFER }
  :: !primary_lives || is_done -> goto end
  fi;
  atomic {
    if
    :: !primary_lives -> goto end
    :: primary_lives && receiver_lives -> to_receiver!GIVE; holders++; in_flight = true
    :: primary_lives && !receiver_lives -> to_sender!KEEP; holders--; primary_holds = false; goto begin
    fi };
  if
  :: atomic { primary_lives && from_receiver?[HAVE] -> from_receiver?HAVE;
       to_sender!LET_GO; to_receiver!READ;
#ifndef WORD
       holders--; primary_holds = false
#endif
     }
  :: atomic { primary_lives && !receiver_lives && empty(from_receiver) ->
       to_sender!KEEP; holders--; primary_holds = false }; goto begin
  :: !primary_lives || is_done -> goto end
  fi;
#ifdef WORD
  if
  :: atomic { primary_lives && is_taken -> holders--; primary_holds = false }
  :: atomic { primary_lives && !receiver_lives && !is_taken ->
#ifdef BYSTANDER
       holders--; primary_holds = false }
#else
       begin_to_read() };
     do
     :: atomic { primary_lives && halves > 0 -> read_half(half_other) }
     :: is_done || !primary_lives -> break
     od
#endif
  :: !primary_lives || is_done -> skip
  fi;
#endif
end:
  skip
}

active proctype Receiver() {
  if
  :: atomic { receiver_lives && to_receiver?[GIVE] ->
       to_receiver?GIVE; receiver_holds = true; in_flight = false }
  :: is_done || !receiver_lives -> goto end
  fi;
  atomic { if :: receiver_lives -> from_receiver!HAVE :: else -> goto end fi };
  if
  :: atomic { receiver_lives && to_receiver?[READ] -> to_receiver?READ }
  :: atomic { receiver_lives && !primary_lives && empty(to_receiver) ->
       receiver_holds = false; holders-- }; goto end       /* it will never be told */
  :: is_done || !receiver_lives -> goto end
  fi;
  atomic { if :: receiver_lives -> is_taken = true :: else -> goto end fi };
  atomic { if :: receiver_lives -> begin_to_read() :: else -> goto end fi };
  do
  :: atomic { receiver_lives && halves > 0 -> read_half(half_other) }
  :: is_done || !receiver_lives -> break
  od;
end:
  skip
}

#ifdef KILL_RECEIVER
active proctype KillReceiver() {
  atomic {
    receiver_lives = false;
    if
    :: receiver_holds -> holders--; receiver_holds = false;
       if
       :: is_taken -> is_excused = true; if :: readers > 0 -> readers-- :: else fi
       :: else
       fi
    :: else
    fi;
    if                        /* The kernel closes what lies in the inbox of a process that is gone. */
    :: in_flight -> holders--; in_flight = false
    :: else
    fi
  }
}
#endif

#ifdef KILL_PRIMARY
active proctype KillPrimary() {
  atomic {
    primary_lives = false;
    if
    :: primary_holds -> holders--; primary_holds = false
    :: else
    fi
  }
}
#endif
