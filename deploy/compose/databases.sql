-- A database a service, made when the volume is new.
CREATE DATABASE portal;
CREATE DATABASE billing;
CREATE DATABASE notifier;
