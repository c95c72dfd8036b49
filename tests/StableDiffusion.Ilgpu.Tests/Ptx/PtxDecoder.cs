using System.Globalization;
using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Tests.Ptx;

/// <summary>Turns a statement into an instruction: finds its operands' slots, and what it does by its name.</summary>
internal sealed partial class PtxDecoder(PtxStatement statement, RegisterLayout registers)
{
    public PtxStatement Statement => statement;

    public string Name => statement.Parts[0];

    /// <summary>The last part: an instruction's type.</summary>
    public string Type => statement.Parts[^1];

    public int Count => statement.Operands.Length;

    public PtxInstruction Decode()
    {
        var guard = statement.Guard is { } name ? Predicate(name) : (Slot?)null;
        var instruction = Name switch
        {
            "bra" => new PtxInstruction(statement, InstructionKind.Branch) { Guard = guard },
            "brx" => new PtxInstruction(statement, InstructionKind.Table) { Guard = guard, Selector = Source(0, 32) },
            "ret" or "exit" => new PtxInstruction(statement, InstructionKind.Return) { Guard = guard },
            "bar" or "barrier" when !Has("warp") => DecodeBarrier(guard),
            "bar" => new PtxInstruction(statement, InstructionKind.Converged) { Guard = guard, Body = (_, _) => { } },
            "mma" or "ldmatrix" => new PtxInstruction(statement, InstructionKind.Converged) { Guard = guard, Body = Matrices.Decode(this) },
            "wgmma" => new PtxInstruction(statement, InstructionKind.Converged) { Guard = guard, Body = WarpgroupMatrices.Decode(this) },
            "fence" when Has("proxy") => new PtxInstruction(statement, InstructionKind.Plain) { Guard = guard, Body = WarpgroupMatrices.DecodeFence(this) },
            "shfl" or "vote" or "activemask" => new PtxInstruction(statement, InstructionKind.Converged) { Guard = guard, Body = Exchanges.Decode(this) },
            _ => new PtxInstruction(statement, InstructionKind.Plain)
            {
                Guard = guard,
                Body = Moves.Decode(this) ?? Memory.Decode(this) ?? Copies.Decode(this) ?? Integers.Decode(this) ?? Floats.Decode(this)
                    ?? Predicates.Decode(this) ?? Conversions.Decode(this) ?? throw Fail("this instruction is not interpreted"),
            },
        };
        return instruction;
    }

    public bool Has(string part) => statement.Parts.AsSpan(1).Contains(part);

    /// <summary>Refuses modifiers that the caller does not know: ignoring one could hide an error.</summary>
    public void Allow(params ReadOnlySpan<string> modifiers)
    {
        foreach (var part in statement.Parts.AsSpan(1, Math.Max(0, statement.Parts.Length - 2)))
        {
            if (!modifiers.Contains(part))
            {
                throw Fail($"the modifier .{part} is not interpreted");
            }
        }
    }

    public void Expect(int count)
    {
        if (Count != count)
        {
            throw Fail($"{Count} operands, {count} expected");
        }
    }

    public PtxException Fail(string message) => statement.Fail(message);

    /// <summary>A register that is written; any slot nobody reads for <c>_</c>.</summary>
    public Slot Target(int operand, int bits) => Target(statement.Operands[operand], bits);

    public Slot Target(string name, int bits)
    {
        if (name == "_")
        {
            return registers.Add(bits);
        }

        var slot = Register(name);
        return slot.Bits == bits ? slot : throw Fail($"{name} has {slot.Bits} bits, {bits} expected");
    }

    /// <summary>A register that is written and may be wider than what is put there.</summary>
    public Slot WideTarget(string name, int bits)
    {
        var slot = name == "_" ? registers.Add(bits) : Register(name);
        return slot.Bits != 1 && slot.Bits >= bits && slot.IsWide == (bits == 64) ? slot : throw Fail($"{name} has {slot.Bits} bits, {bits} or up to 32 expected");
    }

    /// <summary>A register, a number, a special register or an address that is read.</summary>
    public Slot Source(int operand, int bits) => Source(statement.Operands[operand], bits);

    public Slot Source(string name, int bits, bool orWider = false)
    {
        if (statement.Scope.Find(name) is { } slot)
        {
            // An address is declared with 64 bits, and wanted with 32 as well.
            var constant = registers.Constants.FirstOrDefault(c => c.Value == slot);
            return bits == 32 && IsDynamicShared(slot) ? registers.Special(PtxProgram.DynamicShared32, 32)
                : constant.Value == slot && slot.IsWide && bits == 32 ? registers.Constant(constant.Key.Value, 32)
                : slot.Bits == bits || (orWider && slot.Bits > bits && !slot.IsWide) ? slot
                : throw Fail($"{name} has {slot.Bits} bits, {bits} expected");
        }

        return SpecialName().IsMatch(name) ? registers.Special(name, 32) : registers.Constant(Number(name, bits), bits);
    }

    /// <summary>A predicate that is read; 0 and 1 are false and true.</summary>
    public Slot PredicateSource(int operand) =>
        statement.Operands[operand] is "0" or "1" ? registers.Constant(statement.Operands[operand] == "1" ? 1u : 0, 1) : Predicate(operand);

    public Slot Predicate(int operand) => Predicate(statement.Operands[operand]);

    public Slot Predicate(string name) => Register(name) is { Bits: 1 } slot ? slot : throw Fail($"{name} is no predicate");

    /// <summary>Operand <c>{a, b}</c>, or a single one.</summary>
    public string[] Vector(int operand) =>
        statement.Operands[operand].TrimStart('{').TrimEnd('}').Split(',', StringSplitOptions.TrimEntries);

    /// <summary>Operand <c>[register + offset]</c>.</summary>
    public (Slot Base, long Offset) Address(int operand)
    {
        var match = AddressForm().Match(statement.Operands[operand]);
        if (!match.Success)
        {
            throw Fail($"{statement.Operands[operand]} is no address");
        }

        var offset = match.Groups["offset"].Captures.Sum(c => long.Parse(c.Value.Replace(" ", "").Replace("+", "").Replace("--", "")));
        var name = match.Groups["base"].Value;
        if (statement.Scope.Find(name) is { } slot)
        {
            return slot.Bits >= 32 ? (slot, offset) : throw Fail($"{name} has {slot.Bits} bits: no address");
        }

        return (registers.Constant(Number(name, 64), 64), offset);
    }

    /// <summary>Operand 1 as a number known beforehand.</summary>
    public int Immediate(int operand) => (int)Number(statement.Operands[operand], 32);

    private PtxInstruction DecodeBarrier(Slot? guard)
    {
        if (Count == 2 && (Has("sync") || Has("arrive")) && guard is null)
        {
            (Slot Number, int Threads) named = (Source(0, 32), Immediate(1));
            if (named.Threads < Warp.Size || named.Threads % Warp.Size != 0)
            {
                throw Fail("a barrier waits for whole warps");
            }

            return Has("sync") ? new PtxInstruction(statement, InstructionKind.Barrier) { Named = named }
                : new PtxInstruction(statement, InstructionKind.Converged) { Named = named, Body = (warp, _) => warp.Block.Arrive(warp, named) };
        }

        if (!Has("sync") || (Count == 1 && statement.Operands[0] is not "0") || Count > 1)
        {
            throw Fail("only barrier 0 of all threads, and others of a number of threads, are interpreted");
        }

        return new PtxInstruction(statement, InstructionKind.Barrier) { Guard = guard };
    }

    private Slot Register(string name) => statement.Scope.Find(name) ?? throw Fail($"{name} is not declared");

    private bool IsDynamicShared(Slot slot) => registers.Specials.TryGetValue(PtxProgram.DynamicShared, out var address) && address == slot;

    private ulong Number(string text, int bits)
    {
        var digits = text.TrimEnd('U');
        if (digits.StartsWith("0f", StringComparison.OrdinalIgnoreCase) && digits.Length == 10)
        {
            return ulong.Parse(digits[2..], NumberStyles.HexNumber);
        }

        if (digits.StartsWith("0d", StringComparison.OrdinalIgnoreCase) && digits.Length == 18)
        {
            return ulong.Parse(digits[2..], NumberStyles.HexNumber);
        }

        if (digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
        {
            return ulong.Parse(digits[2..], NumberStyles.HexNumber);
        }

        if (long.TryParse(digits, out var signed))
        {
            return (ulong)signed;
        }

        if (ulong.TryParse(digits, out var unsigned))
        {
            return unsigned;
        }

        if (double.TryParse(digits, NumberStyles.Float, CultureInfo.InvariantCulture, out var value) && char.IsAsciiDigit(digits.TrimStart('-')[0]))
        {
            return bits == 64 ? BitConverter.DoubleToUInt64Bits(value) : BitConverter.SingleToUInt32Bits((float)value);
        }

        throw Fail($"{text} is neither declared nor a number");
    }

    [GeneratedRegex(@"^%(tid|ntid|ctaid|nctaid)\.[xyz]$|^%(laneid|warpid|nwarpid|dynamic_smem_size|total_smem_size|lanemask_(eq|lt|le|gt|ge))$")]
    private static partial Regex SpecialName();

    [GeneratedRegex(@"^\[\s*(?<base>[\w$%.]+)(?<offset>\s*[+-]\s*-?\s*\d+)*\s*\]$")]
    private static partial Regex AddressForm();
}
