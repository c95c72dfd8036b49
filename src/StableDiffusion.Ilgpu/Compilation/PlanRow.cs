namespace StableDiffusion.Ilgpu.Compilation;

/// <summary>One launch of a compiled program, for people to read.</summary>
/// <param name="Program">The program it belongs to, for example <c>unet.step</c>.</param>
/// <param name="Path">Where in the model the operation was recorded.</param>
/// <param name="Op">The operation's name.</param>
/// <param name="Shape">Shape of the result.</param>
/// <param name="Kernel">The kernel and the leaf it runs with.</param>
/// <param name="Offset">Where in the arena the result starts, in bytes.</param>
/// <param name="Bytes">Bytes of the result.</param>
/// <param name="Milliseconds">Time of the last timed run; null where none was timed.</param>
internal sealed record PlanRow(
    string Program, string Path, string Op, string Shape, string Kernel, long Offset, long Bytes, double? Milliseconds);
