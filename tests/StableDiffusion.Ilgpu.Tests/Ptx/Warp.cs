using System.Numerics;
using System.Runtime.CompilerServices;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>
/// Up to 32 threads. Those with the lowest place in the program go on first, so that they come together again behind a branch; at a barrier, and at
/// what all lanes must do together, they wait for each other.
/// </summary>
internal sealed unsafe class Warp
{
    public const int Size = 32;

    /// <summary>A kernel that executes more in one warp is taken to hang.</summary>
    private const long Limit = 1L << 32;

    private readonly byte[] memory;
    private readonly int[] places = new int[Size];
    private readonly PtxProgram program;
    private readonly PtxInstruction[] instructions;
    private uint waiting;

    public Warp(PtxBlock block, int number, int threads)
    {
        (Block, program, instructions, Number, Threads) = (block, block.Program, block.Program.Instructions, number, threads);
        memory = GC.AllocateArray<byte>(Math.Max(8, program.Registers.Bytes), pinned: true);
        Registers = (byte*)Unsafe.AsPointer(ref memory[0]);
        Defined = new uint[program.Registers.Slots];
        Written = new long[program.Registers.Slots];
        Copies = new CopyQueue(block.Shared, number);
        Products = new ProductQueue(this);
    }

    public PtxBlock Block { get; }

    public int Number { get; }

    public int Threads { get; }

    /// <summary>The slots of <see cref="RegisterLayout"/>.</summary>
    public byte* Registers { get; }

    /// <summary>For each slot, the lanes whose value comes from values that were written.</summary>
    public uint[] Defined { get; }

    /// <summary>For each slot, how many instructions were executed when one wrote it last; not counting products, which end at no certain time.</summary>
    public long[] Written { get; }

    /// <summary>Lanes that have not returned.</summary>
    public uint Live { get; private set; }

    public CopyQueue Copies { get; }

    public ProductQueue Products { get; }

    public long Executed { get; private set; }

    /// <summary>Begins to count anew; nothing of what ran before is used any more.</summary>
    public long TakeExecuted()
    {
        var count = Executed;
        Executed = 0;
        Array.Clear(Written);
        return count;
    }

    public bool IsWaiting => waiting != 0;

    /// <summary>Where it waits: the number of threads is 0 for all of the block's.</summary>
    public (int Number, int Threads) Barrier
    {
        get
        {
            var instruction = instructions[places[BitOperations.TrailingZeroCount(Live)]];
            return instruction.Named is { } named ? (NumberOf(named.Number), named.Threads) : (0, 0);
        }
    }

    /// <summary>The number of a barrier, which all lanes must agree on.</summary>
    public int NumberOf(Slot slot)
    {
        const int Barriers = 16;
        Require(slot, Live, "the barrier's number");
        var number = Get<uint>(slot, BitOperations.TrailingZeroCount(Live));
        for (var lanes = Live; lanes != 0; lanes &= lanes - 1)
        {
            if (Get<uint>(slot, BitOperations.TrailingZeroCount(lanes)) != number || number >= Barriers)
            {
                throw new PtxException($"the lanes' barriers differ, or there is no barrier {number}");
            }
        }

        return (int)number;
    }

    /// <summary>Before a block's first instruction.</summary>
    public void Reset()
    {
        Array.Clear(Defined);
        Array.Clear(places);
        waiting = 0;
        Live = Threads == Size ? uint.MaxValue : (1u << Threads) - 1;
        Copies.Clear();
        Products.Clear();
        foreach (var ((value, _), slot) in program.Registers.Constants)
        {
            Fill(slot, _ => value);
        }

        foreach (var (name, slot) in program.Registers.Specials)
        {
            Fill(slot, lane => Block.Special(name, (Number * Size) + lane));
        }
    }

    /// <summary>The value of a lane's register: T has its size, or less.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static T Get<T>(byte* register, int lane) where T : unmanaged => *(T*)(register + (lane * (sizeof(T) <= 4 ? 4 : 8)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Set<T>(byte* register, int lane, T value) where T : unmanaged => *(T*)(register + (lane * (sizeof(T) <= 4 ? 4 : 8))) = value;

    public T Get<T>(Slot slot, int lane) where T : unmanaged => Get<T>(Registers + slot.Offset, lane);

    /// <summary>An unsigned number of the slot's own size.</summary>
    public ulong Unsigned(Slot slot, int lane) =>
        slot.IsWide ? Get<ulong>(slot, lane) : slot.Bits == 32 ? Get<uint>(slot, lane) : slot.Bits == 16 ? Get<ushort>(slot, lane) : Get<byte>(slot, lane);

    public ref uint Predicate(Slot slot) => ref *(uint*)(Registers + slot.Offset);

    /// <summary>Records that lanes of a register were written, from values of which those lanes were defined.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Define(Slot slot, uint mask, uint defined)
    {
        Defined[slot.Index] = (Defined[slot.Index] & ~mask) | (mask & defined);
        Written[slot.Index] = Executed;
    }

    /// <summary>For what must not depend on a register that was never written: addresses, stored values, branches.</summary>
    public void Require(Slot slot, uint mask, string what)
    {
        if ((Defined[slot.Index] & mask) != mask)
        {
            throw new PtxException(
                $"{what} comes from a register that was not written, in lane {BitOperations.TrailingZeroCount(mask & ~Defined[slot.Index])}"
                + (Products.IsEmpty ? "" : " (products are not waited for)"));
        }
    }

    /// <summary>Until all lanes have returned or wait at a barrier.</summary>
    public void Run()
    {
        var place = 0;
        try
        {
            while (Live != 0)
            {
                var ready = Live & ~waiting;
                if (ready == 0)
                {
                    place = places[BitOperations.TrailingZeroCount(Live)];
                    CheckTogether(place);
                    if (instructions[place].Kind == InstructionKind.Barrier)
                    {
                        return;
                    }

                    waiting = 0;
                    ExecuteConverged(instructions[place]);
                    Array.Fill(places, place + 1);
                }
                else
                {
                    RunLowest(ready, ref place);
                }
            }
        }
        catch (PtxException e)
        {
            var where = place < instructions.Length ? instructions[place].Statement.Fail(e.Message).Message : e.Message;
            throw new PtxException($"{program.Name}, block {Block.Index}, warp {Number}: {where}");
        }
    }

    /// <summary>After a barrier.</summary>
    public void Release()
    {
        waiting = 0;
        for (var lane = 0; lane < Size; lane++)
        {
            places[lane]++;
        }
    }

    /// <summary>Runs the lanes at the lowest place until they reach the others, part, wait or return.</summary>
    private void RunLowest(uint ready, ref int place)
    {
        var (mask, limit) = (0u, int.MaxValue);
        place = int.MaxValue;
        for (var lanes = ready; lanes != 0; lanes &= lanes - 1)
        {
            var lane = BitOperations.TrailingZeroCount(lanes);
            if (places[lane] < place)
            {
                (limit, place, mask) = (place, places[lane], 1u << lane);
            }
            else if (places[lane] == place)
            {
                mask |= 1u << lane;
            }
            else
            {
                limit = Math.Min(limit, places[lane]);
            }
        }

        while (place < limit)
        {
            if (place >= instructions.Length)
            {
                throw new PtxException("the kernel ends without ret");
            }

            if (++Executed > Limit)
            {
                throw new PtxException("the kernel does not end");
            }

            var instruction = instructions[place];
            if (instruction.Kind is InstructionKind.Converged or InstructionKind.Barrier)
            {
                if (instruction.Kind == InstructionKind.Barrier || mask != Live)
                {
                    waiting |= mask;
                    break;
                }

                ExecuteConverged(instruction);
                place++;
                continue;
            }

            var active = instruction.Guard is { } guard ? Guarded(instruction, guard, mask) : mask;
            if (instruction.Kind == InstructionKind.Plain)
            {
                if (active != 0)
                {
                    instruction.Body!(this, active);
                }

                place++;
            }
            else if (instruction.Kind == InstructionKind.Branch)
            {
                if (active == mask)
                {
                    place = instruction.Targets[0];
                }
                else if (active == 0)
                {
                    place++;
                }
                else
                {
                    Place(active, instruction.Targets[0]);
                    Place(mask & ~active, place + 1);
                    return;
                }
            }
            else if (instruction.Kind == InstructionKind.Table)
            {
                Place(mask & ~active, place + 1);
                PlaceByTable(instruction, active);
                return;
            }
            else
            {
                Live &= ~active;
                mask &= ~active;
                place++;
                if (mask == 0)
                {
                    return;
                }
            }
        }

        Place(mask, place);
    }

    private void ExecuteConverged(PtxInstruction instruction)
    {
        var active = instruction.Guard is { } guard ? Guarded(instruction, guard, Live) : Live;
        if (active != 0)
        {
            instruction.Body!(this, active);
        }
    }

    private uint Guarded(PtxInstruction instruction, Slot guard, uint mask)
    {
        Require(guard, mask, "the predicate");
        return mask & (instruction.Statement.GuardNegated ? ~Predicate(guard) : Predicate(guard));
    }

    /// <summary>All lanes wait: they must do so at the same instruction.</summary>
    private void CheckTogether(int first)
    {
        for (var lanes = Live; lanes != 0; lanes &= lanes - 1)
        {
            var lane = BitOperations.TrailingZeroCount(lanes);
            if (places[lane] != first)
            {
                var other = instructions[places[lane]].Statement;
                throw new PtxException($"the warp's lanes diverge: lane {lane} waits at line {other.Line}: {other.Text}");
            }
        }

        if (instructions[first] is { Kind: InstructionKind.Barrier, Guard: { } guard } instruction && Guarded(instruction, guard, Live) != Live)
        {
            throw new PtxException("some lanes skip the barrier");
        }
    }

    private void Place(uint mask, int place)
    {
        for (; mask != 0; mask &= mask - 1)
        {
            places[BitOperations.TrailingZeroCount(mask)] = place;
        }
    }

    private void PlaceByTable(PtxInstruction instruction, uint mask)
    {
        Require(instruction.Selector, mask, "the branch");
        for (; mask != 0; mask &= mask - 1)
        {
            var lane = BitOperations.TrailingZeroCount(mask);
            var choice = Get<uint>(instruction.Selector, lane);
            places[lane] = choice < instruction.Targets.Length ? instruction.Targets[choice]
                : throw new PtxException($"branch {choice} of {instruction.Targets.Length}");
        }
    }

    private void Fill(Slot slot, Func<int, ulong> value)
    {
        Defined[slot.Index] = uint.MaxValue;
        if (slot.Bits == 1)
        {
            Predicate(slot) = value(0) != 0 ? uint.MaxValue : 0;
            return;
        }

        for (var lane = 0; lane < Size; lane++)
        {
            if (slot.IsWide)
            {
                Set(Registers + slot.Offset, lane, value(lane));
            }
            else
            {
                Set(Registers + slot.Offset, lane, (uint)value(lane));
            }
        }
    }
}
