/* An idle connection goes from one worker to another, and either may be killed at any step.

   Nobody else takes part, and no clock decides. The sender stops reading, tests whether the
   connection is idle, sends a duplicate of its descriptor and keeps its own, unread. The receiver
   first stores a word in shared memory, "taken", then reads, then acknowledges. With the
   acknowledgement the sender lets go. If the receiver is dead, the word decides: taken, and the
   sender lets go too; not taken, and it reads on. A receiver that has no room refuses, as long as the
   sender lives to hear it.

   To pass an offer on is no step of its own: whoever finds one in the inbox of a blocked worker
   takes it in that worker's name, and then gives it away as any sender. (An offer that is sent on
   as it is has three parties. Killed between "the third one has it" and the sending, the one in
   the middle leaves a connection that nobody reads; without that note two read it.)

   What must hold: the connection has one reader at a time, each request gets one answer, and the
   connection stays open as long as the one who has it lives. Not saved: a request that was half
   read by a process that was killed, and a connection whose two parties are killed at once.

   PROTOCOL chooses what is checked:
     1  send and close; the receiver reads at once
     2  acknowledge, and after a time-out the sender reads on
     3  as 4, but the sender tests for idleness before it stops reading
     4  ours
   -DLATE_WORD   the receiver stores the word only after it has begun to read
   -DIMPATIENT   the sender reads on without a death or a refusal
   -DKILL_SENDER, -DKILL_RECEIVER   may happen at any step

   spin -a -DKILL_RECEIVER handover.pml && cc -O2 -DSAFETY -o pan pan.c && ./pan */

#ifndef PROTOCOL
#define PROTOCOL 4
#endif
#define REQUESTS 2

mtype = { OFFER, TAKEN, REFUSED };
chan to_receiver = [1] of { mtype };
chan to_sender = [2] of { mtype };

byte halves;            /* of requests, in the kernel's buffer; two make one */
byte asked, answered;   /* whole requests */
bool is_waiting;        /* the client, for an answer */
byte holders = 1;       /* descriptors, those in flight included */
byte readers = 1;
byte half_sender, half_receiver;   /* read of a request that is not whole */

bool sender_lives = true, receiver_lives = true;
bool sender_holds = true, receiver_holds, in_flight;
bool is_taken;          /* the word in shared memory */
bool is_excused;        /* a kill has cut what nobody could save */
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
  bool is_idle;
serve:
  do
  :: atomic { sender_lives && halves > 0 -> read_half(half_sender) }
  :: sender_lives && !is_taken -> break      /* it is to leave */
  :: is_done || !sender_lives -> goto end
  od;
#if PROTOCOL == 3
  is_idle = (half_sender == 0);
  if
  :: !is_idle -> goto serve
  :: else
  fi;
  if                                          /* what came meanwhile is still read */
  :: atomic { sender_lives && halves > 0 -> halves--; half_sender++ }
  :: skip
  fi;
  atomic { sender_lives -> readers-- };
#else
  atomic { if :: sender_lives -> readers-- :: else -> goto end fi };
  is_idle = (half_sender == 0);
  if
  :: !is_idle ->
     atomic { if :: sender_lives -> begin_to_read() :: else -> goto end fi }; goto serve
  :: else
  fi;
#endif
  atomic {
    if
    :: !sender_lives -> goto end
    :: sender_lives && !receiver_lives -> begin_to_read(); goto serve
    :: sender_lives && receiver_lives -> to_receiver!OFFER; in_flight = true;
#if PROTOCOL == 1
       sender_holds = false; goto end         /* its own descriptor is now the one in flight */
#else
       holders++
#endif
    fi };
wait:
  if
  :: atomic { sender_lives && to_sender?[TAKEN] -> to_sender?TAKEN; sender_holds = false; holders-- };
     goto end
  :: atomic { sender_lives && to_sender?[REFUSED] -> to_sender?REFUSED; begin_to_read() }; goto serve
  :: atomic { sender_lives && !receiver_lives && is_taken && empty(to_sender) ->
       sender_holds = false; holders-- }; goto end
  :: atomic { sender_lives && !receiver_lives && !is_taken && empty(to_sender) ->
       begin_to_read() }; goto serve
#if defined(IMPATIENT) || PROTOCOL == 2
  :: atomic { sender_lives -> begin_to_read() }; goto serve
#endif
  :: !sender_lives || is_done -> goto end
  fi;
end:
  skip
}

active proctype Receiver() {
begin:
  if
  :: atomic { receiver_lives && to_receiver?[OFFER] ->
       to_receiver?OFFER; receiver_holds = true; in_flight = false }
  :: is_done || !receiver_lives -> goto end
  fi;
  if                                          /* no room: close it, and say so */
  :: atomic { receiver_lives && sender_lives && PROTOCOL >= 3 ->
       receiver_holds = false; holders--; to_sender!REFUSED }; goto begin
  :: skip
  fi;
#if defined(LATE_WORD) || PROTOCOL < 3
  atomic { if :: receiver_lives -> begin_to_read() :: else -> goto end fi };
  if
  :: atomic { receiver_lives && halves > 0 -> read_half(half_receiver) }
  :: skip
  fi;
  atomic { if :: receiver_lives -> is_taken = true :: else -> goto end fi };
#else
  atomic { if :: receiver_lives -> is_taken = true :: else -> goto end fi };
  atomic { if :: receiver_lives -> begin_to_read() :: else -> goto end fi };
#endif
#if PROTOCOL > 1
  atomic { if :: receiver_lives -> to_sender!TAKEN :: else -> goto end fi };
#endif
  do
  :: atomic { receiver_lives && halves > 0 -> read_half(half_receiver) }
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
    /* The kernel closes what lies in the inbox of a process that is gone. */
    if
    :: nempty(to_receiver) -> to_receiver?OFFER; holders--; in_flight = false
    :: else
    fi
  }
}
#endif

#ifdef KILL_SENDER
active proctype KillSender() {
  atomic {
    sender_lives = false;
    if
    :: sender_holds -> holders--; sender_holds = false
    :: else
    fi;
    if
    :: half_sender > 0 || holders == 0 -> is_excused = true
    :: else
    fi;
    /* Whoever else holds it reads it; if the sender was the reader, nobody does now. */
    if
    :: readers > 0 && !is_taken -> readers--
    :: else
    fi
  }
}
#endif
