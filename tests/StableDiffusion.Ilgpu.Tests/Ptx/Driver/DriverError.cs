namespace StableDiffusion.Ilgpu.Tests.Ptx.Driver;

/// <summary>The driver's answers (CUresult).</summary>
internal enum DriverStatus
{
    Success = 0,
    InvalidValue = 1,
    OutOfMemory = 2,
    InvalidContext = 201,
    NoBinaryForDevice = 209,
    InvalidPtx = 218,
    InvalidHandle = 400,
    NotFound = 500,
    LaunchFailed = 719,
    CaptureUnsupported = 900,
    CaptureInvalidated = 901,
    Unknown = 999,
}

/// <summary>What a call of the driver answers instead of success.</summary>
internal sealed class DriverError(DriverStatus status, string message) : Exception(message)
{
    public DriverStatus Status => status;
}
